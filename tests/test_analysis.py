from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_runs import STEPS, write_run

from farm import analysis
from farm.errors import FarmError


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[analysis.Run]:
    folder = tmp_path_factory.mktemp("runs")
    for method in ("ppo", "dpo"):
        for seed in (1, 2, 3):
            write_run(folder / f"{method}-{seed}", method=method, seed=seed)
    return analysis.load_runs(folder)


def test_load_runs_takes_a_folder_of_runs_or_runs(runs: list[analysis.Run]) -> None:
    assert [run.name for run in runs] == ["dpo-1", "dpo-2", "dpo-3", "ppo-1", "ppo-2", "ppo-3"]
    again = analysis.load_runs(runs[3].path, runs[0].path)
    assert [run.info["method"] for run in again] == ["ppo", "dpo"]
    assert again[0].config["method"]["kl_coefficient"] == 0.15
    assert set(again[0].metrics["stage"]) == {"sft", "ppo"}


def test_what_is_no_finished_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(FarmError, match="no finished run here"):
        analysis.load_runs(tmp_path)
    with pytest.raises(FarmError, match="it has no run"):
        analysis.load_run(tmp_path)
    path = write_run(tmp_path / "run")
    info = (path / "run.json").read_text()
    (path / "run.json").write_text(info.replace("finished", "running"))
    with pytest.raises(FarmError, match="this run is running"):
        analysis.load_run(path)
    (path / "run.json").write_text(info)
    (path / "final_items.parquet").unlink()
    with pytest.raises(FarmError, match="missing, so this run"):
        analysis.load_run(path)


def test_curves_have_a_row_per_checkpoint_of_every_run(runs: list[analysis.Run]) -> None:
    curves = analysis.curves(runs)
    assert list(curves.columns[:4]) == ["run", "method", "seed", "step"]
    assert len(curves) == len(runs) * len(STEPS)
    assert len(analysis.final_table(runs)) == sum(len(run.final) for run in runs)


def test_method_table_averages_the_headline_of_the_final_tables(runs: list[analysis.Run]) -> None:
    table = analysis.method_table(runs).set_index(["method", "role"])
    final = analysis.final_table(runs)
    for (method, role), row in table.iterrows():
        of_seeds = final[(final["method"] == method) & (final["role"] == role)]
        for rate in ("pool_preference", "win_rate", "held_out_win_rate", "gold_win_rate"):
            assert row[rate] == pytest.approx(of_seeds[rate].mean())
            assert row[f"{rate}_low"] < row[rate] < row[f"{rate}_high"]
    assert (table["seeds"] == 3).all()


def test_of_equal_runs_the_newest_counts(runs: list[analysis.Run], tmp_path: Path) -> None:
    again = analysis.load_run(write_run(tmp_path / "ppo-1-again", method="ppo", seed=1))
    repeated = [*runs, again]
    pd.testing.assert_frame_equal(analysis.method_table(repeated), analysis.method_table(runs))
    assert "ppo-1-again" in set(analysis.curves(repeated)["run"])
    assert "ppo-1" not in set(analysis.curves(repeated)["run"])


def test_configurations_of_one_method_are_compared_by_name(
    runs: list[analysis.Run], tmp_path: Path
) -> None:
    weak = [
        analysis.load_run(write_run(tmp_path / f"w-{seed}", seed=seed, name="weak_kl", kl=0.02))
        for seed in (1, 2)
    ]
    table = analysis.method_table([*runs, *weak]).set_index(["method", "role"])
    assert table["seeds"].groupby("method").first().to_dict() == {"dpo": 3, "ppo": 3, "weak_kl": 2}
    (axes,) = analysis.plot_win_rate_curves(analysis.curves([*runs, *weak]), ["win_rate"]).axes
    assert {"dpo", "ppo", "weak_kl"} <= {line.get_label() for line in axes.get_lines()}


def test_configurations_of_one_name_are_told_apart_by_a_folder(
    runs: list[analysis.Run], tmp_path: Path
) -> None:
    """Not averaged as if they were seeds of one method."""
    other = analysis.load_run(write_run(tmp_path / "other", method="ppo", seed=4, kl=0.02))
    table = analysis.method_table([*runs, other]).query("role == 'last'")
    assert dict(zip(table["method"], table["seeds"], strict=True)) == {
        "dpo": 3, "ppo (ppo-1)": 3, "ppo (other)": 1,
    }  # fmt: skip


def test_turning_points_see_the_fall_while_the_proxy_rises(runs: list[analysis.Run]) -> None:
    turns = analysis.turning_points(runs)
    assert turns["turns_over"].all()
    assert (turns["proxy_rise_after_peak"] > 0).all()
    assert turns["peak_step"].between(20, 50).all()


def test_failures_split_the_gain_of_the_proxy(runs: list[analysis.Run]) -> None:
    failures = analysis.failures(runs)
    last = failures[failures["step"] == STEPS[-1]]
    assert len(last) == len(runs)
    first = failures[failures["step"] == 0].set_index("run")
    gain = last.set_index("run")["proxy_win_rate"] - first["proxy_win_rate"]
    of_gold = last.set_index("run")["gold_win_rate"] - first["gold_win_rate"]
    parts = last.set_index("run")[["reward_model_error", "annotator_bias"]].sum(axis=1)
    np.testing.assert_allclose(gain, of_gold + parts)


def test_runs_without_gold_are_left_out_of_gold_tables(tmp_path: Path) -> None:
    run = analysis.load_run(write_run(tmp_path / "run", has_gold=False))
    assert analysis.turning_points([run]).empty
    assert analysis.failures([run]).empty
    row = analysis.method_table([run]).iloc[0]
    assert np.isnan(row["gold_win_rate"])
    assert row["pool_preference"] > 50
    assert len(analysis.plot_win_rate_curves(analysis.curves([run])).axes) == 2


def test_lines_are_means_over_the_seeds(runs: list[analysis.Run]) -> None:
    curves = analysis.curves(runs)
    figure = analysis.plot_win_rate_curves(curves, ["win_rate"])
    (axes,) = figure.axes
    drawn = {line.get_label(): line for line in axes.get_lines()}
    means = curves[curves["method"] == "ppo"].groupby("step")["win_rate"].mean()
    np.testing.assert_allclose(drawn["ppo"].get_ydata(), means)
    np.testing.assert_array_equal(drawn["ppo"].get_xdata(), STEPS)


def test_overoptimization_figure_draws_proxy_and_gold_over_kl(runs: list[analysis.Run]) -> None:
    above, below = analysis.plot_overoptimization(analysis.curves(runs[:1])).axes
    assert np.ptp(above.get_lines()[0].get_ydata()) > 0
    np.testing.assert_allclose(below.get_lines()[0].get_xdata(), np.array(STEPS) / 25)
