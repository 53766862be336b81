"""Annotators against labels: files, the table, the figure, the command, and leakage."""

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_runs import write_run
from omegaconf import OmegaConf

from farm.config import build, cli, compose, plain
from farm.console import Console
from farm.data.records import make_pair, user_instruction
from farm.errors import ConfigError, DataError
from farm.heartbeat import beat, note
from farm.protocols import Annotator
from farm.reporting.loading import load_runs
from farm.types import Judgment, Pair
from farm.worker import Progress
from simulators.order import RandomOrder
from simulators.persona import Persona
from simulators.recorder import write_lines
from simulators.validate import VALIDATE, task
from simulators.validation import leakage
from simulators.validation.asking import Heard, estimate, heard
from simulators.validation.evaluators_table import LABELS, evaluators_table
from simulators.validation.figure import evaluators_figure, write_files
from simulators.validation.labels import Labels, file_labels, gold_labels, load_labels
from simulators.validation.leakage import leakage_table
from simulators.validation.settings import ValidateSettings

SHARED = Path(__file__).parents[3] / "shared" / "data" / "alpaca_eval2" / "pairs.parquet"
SETTINGS = ValidateSettings(
    labels="gold",
    judge=None,
    node="clean",
    pairs=800,
    repeats=4,
    longer_by=30,
    bootstrap=500,
    seed=0,
    dry_run=False,
    name="tested",
    out="unused",
    runs_dir="runs",
)


class Longer:
    """Prefers the longer answer of anything."""

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        gains = [len(pair.output_b) - len(pair.output_a) for pair in pairs]
        return [
            Judgment(pair.id, (np.sign(gain) + 1) / 2, "longer", "ab", draw, latency_s=0.5)
            for pair, gain in zip(pairs, gains, strict=True)
        ]


@pytest.fixture(scope="module")
def gold() -> Labels:
    return gold_labels(800, seed=0)


def ours(annotator: Annotator, labels: Labels, **settings: Any) -> "pd.Series[Any]":
    """The annotator's row of the table."""
    return evaluators_table(annotator, labels, replace(SETTINGS, **settings)).iloc[0]


def rows(*preferences: float | None, **more: Any) -> list[dict[str, Any]]:
    """Labels of one pair."""
    pair = {"instruction": "Say it.", "output_1": "short", "output_2": "rather longer"}
    return [{**pair, "preference": preference, **more} for preference in preferences]


def write(path: Path, content: list[dict[str, Any]]) -> Path:
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, content[0])
            writer.writeheader()
            writer.writerows(content)
    elif path.suffix == ".parquet":
        pd.DataFrame(content).to_parquet(path)
    else:
        lines = [json.dumps(row) for row in content]
        text = "\n".join(lines) if path.suffix == ".jsonl" else f"[{','.join(lines)}]"
        path.write_text(text)
    return path


# ------------------------------------------------------------------------------------ labels


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv", "parquet"])
def test_annotation_rows_of_every_format(tmp_path: Path, suffix: str) -> None:
    labels = file_labels(write(tmp_path / f"l.{suffix}", rows(1.0, 0.0, 1.25, None)), None)
    assert [pair.output_b for pair in labels.pairs] == ["rather longer"]
    assert np.array_equal(labels.preferences_N_K, [[0, 0.5, 0.25, np.nan]], equal_nan=True)


def test_a_turned_pair_is_the_same_pair(tmp_path: Path) -> None:
    (row,) = rows(2.0)
    turned = {**row, "output_1": row["output_2"], "output_2": row["output_1"], "preference": 1.0}
    labels = file_labels(write(tmp_path / "l.json", [row, turned]), None)
    assert labels.preferences_N_K.tolist() == [[1.0, 1.0]]


def test_one_text_of_two_systems_stays_apart(tmp_path: Path) -> None:
    content = [*rows(1.0, generator="x"), *rows(2.0, generator="y"), *rows(2.0, generator="y")]
    labels = file_labels(write(tmp_path / "l.json", content), None)
    assert list(labels.systems) == ["x", "y"]
    assert np.array_equal(labels.preferences_N_K, [[0, np.nan], [1, 1]], equal_nan=True)


def test_judges_are_never_mixed_unasked(tmp_path: Path) -> None:
    content = [*rows(1.0, annotator="ann"), *rows(2.0, annotator="bob")]
    path = write(tmp_path / "l.json", content)
    with pytest.raises(ConfigError, match=r"judge: .* several judges.*Judges: ann, bob"):
        file_labels(path, None)
    with pytest.raises(ConfigError, match="no judge 'eve'"):
        file_labels(path, "eve")
    assert file_labels(path, "bob").preferences_N_K.tolist() == [[1.0]]
    assert file_labels(path, "all").preferences_N_K.tolist() == [[0.0, 1.0]]


def test_numbered_humans_are_one_crowd(tmp_path: Path) -> None:
    content = [{**row, "annotator_index": i} for i, row in enumerate(rows(1.0, 1.0, 2.0, 1.0))]
    labels = file_labels(write(tmp_path / "l.json", content), None)
    assert labels.preferences_N_K.tolist() == [[0, 0, 1, 0]]


def test_recorded_lines(tmp_path: Path, gold: Labels) -> None:
    pairs = gold.pairs[:5]
    write_lines(tmp_path / "l.jsonl", pairs, Longer().annotate(pairs, seed=0))
    labels = file_labels(tmp_path / "l.jsonl", None)
    assert [pair.id for pair in labels.pairs] == [pair.id for pair in pairs]
    assert ours(Longer(), labels)["agreement"] == 100


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"preference": 3}, r"l.json, row 2: .*3 is not between 1 and 2"),
        ({"instruction": ""}, r"l.json, row 2: .*`instruction` is empty"),
        ({"preference": "maybe"}, r"l.json, row 2: .*maybe"),
    ],
)
def test_what_is_wrong_with_a_row(tmp_path: Path, broken: dict[str, Any], message: str) -> None:
    good, bad = rows(1.0, 1.0)
    with pytest.raises(DataError, match=message):
        file_labels(write(tmp_path / "l.json", [good, {**bad, **broken}]), None)
    with pytest.raises(DataError, match=r"row 1: there is no 'output_2'"):
        file_labels(
            write(tmp_path / "l.json", [{"instruction": "x", "output_1": "y", "preference": 1}]),
            None,
        )


def test_the_hub_offline_says_what_to_do() -> None:
    with pytest.raises(DataError, match="labels=FILE"):
        load_labels(replace(SETTINGS, labels="hub"))


# ------------------------------------------------------------------------------------- table


def test_label_flips_pull_agreement_towards_a_coin() -> None:
    config, labels = compose([], VALIDATE), gold_labels(2000, seed=0)
    clean, train = (ours(build(config.annotators[node]), labels) for node in ("clean", "train"))
    assert clean["agreement"] > 80
    assert train["agreement_low"] <= 0.5 * clean["agreement"] + 25 <= train["agreement_high"]
    assert train["bias"] > clean["bias"]
    assert train["variance"] > clean["variance"]


def test_first_is_as_the_judge_saw_it(gold: Labels) -> None:
    biased = Persona(name="first", weights={"correct": 1.0}, temperature=0.3, position_bias=0.3)
    for annotator in (biased, RandomOrder(annotator=biased)):
        assert ours(annotator, gold)["prefer_first_low"] > 50
    fair = Persona(name="fair", weights={"correct": 1.0}, temperature=0.3)
    assert ours(fair, gold)["prefer_first"] == pytest.approx(50, abs=5)


def test_tastes_price_and_time(gold: Labels) -> None:
    row = ours(Longer(), gold, repeats=2)
    assert (row["prefer_longer"], row["prefer_longer_high"]) == (100, 100)
    assert row["prefer_longer_low"] < 99.9
    assert (row["price"], row["time"], row["variance"]) == (0, 500, 0)
    assert (row["n_pairs"], row["n_asked"], row["n_parsed"]) == (800, 1600, 1600)
    sure = Persona(name="sure", weights={"confidence": 1.0}, temperature=0.05)
    assert ours(sure, gold)["prefer_confident"] > 99
    tidy = Persona(name="tidy", weights={"bullets": 1.0}, temperature=0.05)
    assert ours(tidy, gold)["prefer_lists"] > 90  # it also likes bullets within a line


def test_one_draw_has_neither_bias_nor_variance(gold: Labels) -> None:
    row = ours(Longer(), gold, repeats=1)
    assert np.isnan([row["bias"], row["variance"], row["spearman"]]).all()


def test_a_crowd_is_held_to_the_same_measure(tmp_path: Path) -> None:
    path = write(tmp_path / "l.json", rows(2.0, 2.0, 2.0, 1.0))
    table = evaluators_table(Longer(), file_labels(path, None), SETTINGS).set_index("name")
    assert table.loc["tested", "agreement"] == 100
    assert table.loc[LABELS, "agreement"] == pytest.approx(75)
    assert table.loc[LABELS, "variance"] == pytest.approx(25)


def test_without_any_verdict_the_reason_is_named() -> None:
    pair = make_pair(user_instruction("What is law?"), "this", "that")
    labels = Labels([pair], np.ones((1, 1)), [None])
    persona = Persona(name="x", weights={}, temperature=1.0)
    with pytest.raises(DataError, match=r"no verdict on any of the 1 pairs: .*barnyard's"):
        evaluators_table(persona, labels, SETTINGS)


def test_real_text_longer_answers_win() -> None:
    """GPT-4-turbo's labels of six models against the longer answer."""
    if not SHARED.is_file():
        pytest.skip(f"{SHARED} is not there")
    labels = file_labels(SHARED, None)
    row = ours(Longer(), labels, repeats=2, bootstrap=200)
    assert (row["n_pairs"], row["prefer_longer"]) == (4828, 100)
    assert row["agreement"] == pytest.approx(86.2, abs=1)
    assert row["spearman"] > 0.8


def test_figure_and_files(tmp_path: Path, gold: Labels) -> None:
    table = evaluators_table(Longer(), gold, SETTINGS)
    paths = write_files(table, replace(SETTINGS, out=str(tmp_path / "new")))
    assert [path.name for path in paths] == ["tested.parquet", "tested.csv", "tested.png"]
    pd.testing.assert_frame_equal(pd.read_parquet(paths[0]), table)
    left, right = evaluators_figure(table).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["tested"]
    assert len(right.get_yticklabels()) == 4


def test_intervals_are_over_instructions(gold: Labels) -> None:
    """Several systems' pairs of one instruction are no new instructions."""
    pairs = [
        make_pair(pair.instruction, pair.output_a, f"{pair.output_b}{'!' * system}")
        for pair in gold.pairs[:100]
        for system in range(8)
    ]
    votes = np.repeat(gold.preferences_N_K[:100], 8, axis=0)
    eight = ours(Longer(), Labels(pairs, votes, [None] * len(pairs)), repeats=1, longer_by=0)
    one = ours(Longer(), Labels(pairs[::8], votes[::8], [None] * 100), repeats=1, longer_by=0)
    widths = [row["agreement_high"] - row["agreement_low"] for row in (eight, one)]
    assert widths[0] == pytest.approx(widths[1], rel=0.25)


# ------------------------------------------------------------------------------------- asking


class Talking(Longer):
    """Beats and notes as LLM judges do; knows nothing of the last pair."""

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        for _ in pairs:
            beat(1, {"cost_usd": 0.25})
        note("the budget is [spent]")
        *known, last = super().annotate(pairs, seed=seed, draw=draw)
        unknown = replace(last, preference=None, cost_usd=None, error="budget")
        return [*(replace(j, requested_model="m", model=f"m-{draw}") for j in known), unknown]


def test_progress_over_all_draws(gold: Labels) -> None:
    said: list[Progress] = []
    warned: list[str] = []
    annotator = Heard(
        Talking(), 20, lambda at: said.append(replace(at, metrics={**at.metrics})), warned.append
    )
    for draw in range(2):
        annotator.annotate(gold.pairs[:10], seed=0, draw=draw)
    assert [(at.step, at.total) for at in said][:3] == [(0, 20), (1, 20), (2, 20)]
    assert (said[-1].step, said[-1].metrics) == (20, {"cost_usd": 5.0})
    assert max(at.step for at in said[:12]) == 10  # the first draw's
    assert warned == ["the budget is [spent]"]
    assert len(annotator.judgments) == 20


def test_programs_move_the_bar_by_whole_draws(gold: Labels) -> None:
    said: list[Progress] = []
    Heard(Longer(), 20, said.append, print).annotate(gold.pairs[:10], seed=0)
    assert [at.step for at in said] == [0, 10]


def test_notes_and_caveats_are_warnings(gold: Labels, capsys: pytest.CaptureFixture[str]) -> None:
    settings = replace(SETTINGS, repeats=2)
    with heard(Talking(), gold.pairs[:10], settings, Console()) as annotator:
        evaluators_table(annotator, gold_labels(10, seed=0), settings)
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("warning: the budget is [spent]") == 1
    assert "warning: 2 of 20 pairs got no verdict: 2 x budget." in said
    assert "warning: The price of longer is not known" in said
    assert "warning: longer asked for m and was answered by m-0, m-1" in said
    assert said.count("warning:") == 4  # and no bar, since this is no terminal


def test_a_dry_run_counts_every_draw(gold: Labels, tmp_path: Path) -> None:
    config = plain(compose(["annotators=judge", f"runs_dir={tmp_path}"], VALIDATE))
    once, twice = (
        estimate(config["annotators"]["clean"], gold.pairs[:20], replace(SETTINGS, repeats=repeats))
        for repeats in (1, 2)
    )
    assert once is not None
    assert twice is not None
    assert (once.pairs, once.requests, twice.requests) == (20, 20, 40)
    assert once.usd is not None
    assert twice.usd == pytest.approx(2 * once.usd)
    assert twice.prompt_tokens == 2 * once.prompt_tokens > 0
    assert list(tmp_path.iterdir()) == []


def test_programs_take_nothing(gold: Labels) -> None:
    config = plain(compose([], VALIDATE))
    assert estimate(config["annotators"]["train"], gold.pairs, SETTINGS) is None


# ----------------------------------------------------------------------------------- command


def command(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    program = [sys.executable, "-m", "simulators.validate", *arguments]
    return subprocess.run(program, capture_output=True, text=True, cwd=cwd)


def test_the_command_works_out_of_the_box(tmp_path: Path) -> None:
    done = command("pairs=200", "bootstrap=100", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Agreement with the labels (%)" in done.stdout
    names = {path.name for path in (tmp_path / "runs" / "validation").iterdir()}
    assert names == {f"barnyard-clean.{end}" for end in ("parquet", "csv", "png")}


def run_here(*arguments: str, cwd: Path) -> int:
    """The command in this process."""
    return cli(task, [*arguments, f"runs_dir={cwd}"], VALIDATE)


def test_a_missing_key_is_named_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    judge = ("annotators=judge", "labels=nowhere.json")
    assert run_here(*judge, cwd=tmp_path) == 2  # not 3: the labels are not read yet
    said = capsys.readouterr().err
    assert said.startswith("error: annotators.clean.annotator.model.model: ")
    assert "OPENAI_API_KEY" in said
    assert list(tmp_path.iterdir()) == []
    assert run_here("pairs=5", "bootstrap=100", "repeats=1", cwd=tmp_path) == 0  # needs no key


def test_a_dry_run_needs_no_key_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert run_here("dry_run=true", "annotators=judge", "pairs=20", cwd=tmp_path) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "judge-clean, repeats=4: 20 pairs, 80 requests still to pay" in said
    assert "at most $" in said
    assert run_here("dry_run=true", "pairs=50", cwd=tmp_path) == 0
    assert "barnyard-clean: asks nobody who is paid" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argument", "status", "message"),
    [
        ("lables=x", 2, "Did you mean labels?"),
        ("node=dirty", 2, "node"),
        ("repeats=0", 2, "repeats=0: give a whole number that is 1 or more."),
        ("labels=nowhere.json", 3, "nowhere.json: there is no such file"),
    ],
)
def test_mistakes_on_the_command_line(
    tmp_path: Path, argument: str, status: int, message: str
) -> None:
    done = command(argument, cwd=tmp_path)
    assert (done.returncode, message in done.stderr) == (status, True), done.stderr


# ----------------------------------------------------------------------------------- leakage


def persona(name: str) -> dict[str, Any]:
    return {
        "_target_": "simulators.persona.Persona",
        "name": name,
        "weights": {},
        "temperature": 1.0,
    }


def finished(folder: Path, trainer: str, judge: str | None, rates: Sequence[float | None]) -> None:
    """A run whose selected checkpoint has these win rates: own, held out and gold."""
    write_run(folder)
    config = OmegaConf.load(folder / "config.yaml")
    config["annotators"] = {"clean": persona(trainer)}
    config["evaluators"] = {"judge": None if judge is None else persona(judge)}
    OmegaConf.save(config, folder / "config.yaml")
    final = pd.read_parquet(folder / "final.parquet")
    columns = ["win_rate", "held_out_win_rate", "gold_win_rate"]
    final.loc[final["role"] == "selected", columns] = [np.nan if r is None else r for r in rates]
    final.to_parquet(folder / "final.parquet")


def test_leakage_is_own_less_others(tmp_path: Path) -> None:
    finished(tmp_path / "1", "ann", "bob", [80, 60, 70])
    finished(tmp_path / "2", "ann", "bob", [90, 70, 50])
    finished(tmp_path / "3", "ann", "eve", [85, 45, 60])
    finished(tmp_path / "4", "bob", "ann", [75, 74, 60])
    finished(tmp_path / "5", "eve", None, [66, None, None])
    table = leakage_table(load_runs(tmp_path))
    assert list(table.columns) == ["ann", "bob", "eve", "gold", "leakage"]
    assert table.loc["ann"].tolist() == [85, 65, 45, 60, 30]
    assert table.loc["bob", ["ann", "bob", "gold", "leakage"]].tolist() == [74, 75, 60, 1]
    assert np.isnan(table.loc["eve", ["ann", "gold", "leakage"]].to_numpy(float)).all()


def test_the_leakage_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finished(tmp_path / "runs" / "1", "ann [x]", "bob", [80, 60, 70])
    out = tmp_path / "new" / "table.csv"
    monkeypatch.setattr(sys, "argv", ["leakage", str(tmp_path / "runs"), "--out", str(out)])
    assert leakage.main() == 0
    said = capsys.readouterr().out
    assert "ann [x]" in said
    assert "20.0" in said
    written = pd.read_csv(out, index_col="trained_by")
    assert written.loc["ann [x]", "leakage"] == 20
    monkeypatch.setattr(sys, "argv", ["leakage", str(tmp_path / "runs"), "--out", str(tmp_path)])
    assert leakage.main() == 3
    assert "cannot be written: Is a directory" in capsys.readouterr().err


def test_leakage_without_finished_runs(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "simulators.validation.leakage", str(tmp_path / "nowhere")]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.startswith("error: ")
    assert "no finished run here" in done.stderr
