"""The main job from configuration to report, at smoke size."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from farm.evaluation.curve import CURVE_COLUMNS
from farm.seeds import derive

from .conftest import Finished, Run

TIMING = ["wall_s"]


def test_curve_has_every_column_and_a_row_per_checkpoint(smoke: Finished) -> None:
    curve = smoke.table("curve")
    assert list(curve.columns[: len(CURVE_COLUMNS)]) == list(CURVE_COLUMNS)
    assert curve["step"].is_monotonic_increasing
    assert curve["step"].iloc[0] == 0
    assert curve.notna()[list(CURVE_COLUMNS)].all().all()
    assert curve["kl_to_start"].iloc[0] == pytest.approx(0, abs=1e-4)
    assert curve["kl_to_start"].iloc[-1] > 0.01


def test_final_table_has_reference_start_selected_last_and_controls(smoke: Finished) -> None:
    final = smoke.table("final").set_index("role")
    assert {"reference", "start", "selected", "last", "control", "excluded"} == set(final.index)
    assert final.loc["reference", "pool_preference"] == 50
    assert final.loc["reference", "gold_win_rate"] == 50
    assert len(final.loc[["start"]]) == 3
    assert (final["win_rate_low"] <= final["win_rate"]).all()
    assert (final["win_rate"] <= final["win_rate_high"]).all()


def test_selection_looks_at_validation_win_rate_alone(smoke: Finished) -> None:
    curve = smoke.table("curve").query("step > 0")
    best = curve["win_rate"].max()
    assert smoke.info["selected_step"] == curve.loc[curve["win_rate"] == best, "step"].min()


def test_run_folder_holds_config_metrics_and_a_self_contained_report(smoke: Finished) -> None:
    assert "farm.data.barnyard" in (smoke.path / "config.yaml").read_text()
    stages = {
        json.loads(line)["stage"]
        for line in (smoke.path / "metrics.jsonl").read_text().splitlines()
    }
    assert stages == {"start", "reward", "ppo"}
    report = (smoke.path / "report.html").read_text()
    assert "<svg" in report
    assert 'src="http' not in report
    assert len(smoke.table("samples")) == 4


def test_noise_is_a_quarter_and_recorded(smoke: Finished) -> None:
    store = smoke.path.parent / "store"
    (folder,) = (store / "judgments").glob("*/manifest.json")
    results = json.loads(folder.read_text())["results"]
    # A label is replaced by a fair coin with probability 2 * 0.25.
    n, noised = results["labels"], results["noised"]
    assert abs(noised / n - 0.5) < 4 * math.sqrt(0.25 / n)
    assert results["no_verdict"] == 0


def test_same_run_again_reuses_everything(smoke: Finished, run_here: Run) -> None:
    again = run_here(smoke.path.parent, "method=ppo", "name=again")
    assert again.stages(reused=False) == set()
    pd.testing.assert_frame_equal(again.table("curve"), smoke.table("curve"))
    pd.testing.assert_frame_equal(again.table("final"), smoke.table("final"))


def test_same_seed_in_an_empty_store_gives_equal_artefacts(
    smoke: Finished, run_here: Run, tmp_path: Path
) -> None:
    fresh = run_here(tmp_path / "runs", "method=ppo")
    assert fresh.stages(reused=True) <= smoke.stages(reused=True)
    for name in ("curve", "final", "curve_items", "samples"):
        pd.testing.assert_frame_equal(
            fresh.table(name).drop(columns=TIMING, errors="ignore"),
            smoke.table(name).drop(columns=TIMING, errors="ignore"),
        )
    weights = "store/policy/*/policy/model.safetensors"
    ours, theirs = (
        {p.parent.parent.name: p.read_bytes() for p in runs.glob(weights)}
        for runs in (fresh.path.parent, smoke.path.parent)
    )
    assert ours
    assert ours.items() <= theirs.items()


def test_second_method_reuses_sft_and_judgments_and_trains_no_reward_model(
    smoke: Finished, run_here: Run
) -> None:
    dpo = run_here(smoke.path.parent, "method=dpo")
    assert {"instructions", "model", "sft", "pairs", "judgments"} <= dpo.stages(reused=True)
    assert "dpo" in dpo.stages(reused=False)
    assert not any("reward" in s["stage"] for s in dpo.info["stages"])
    assert dpo.table("curve")["proxy_reward"].isna().all()


def test_gold_and_held_out_judges_change_no_training_artefact(
    smoke: Finished, run_here: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tripwire: what learners get does not depend on gold, evaluators or evaluation data."""
    from farm import run as farm_run
    from farm.config import cli

    overrides = ["data.gold.correct=7.0", "evaluators=none", "evaluation.longest_of=2"]
    runs = smoke.path.parent
    assert cli(
        farm_run.task, ["experiment=smoke", f"runs_dir={runs}", "dry_run=true", *overrides]
    ) == 0  # fmt: skip
    assert "0 to build" in capsys.readouterr().out


def test_seeds_differ_by_stage_and_item() -> None:
    seeds = {derive(0, "a"), derive(1, "a"), derive(0, "b"), derive(0, "a", 0), derive(0, "a", "0")}
    assert len(seeds) == 5
