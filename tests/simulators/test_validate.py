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

from farm.config import build, compose
from farm.data.records import make_pair, user_instruction
from farm.errors import ConfigError, DataError
from farm.protocols import Annotator
from farm.reporting.loading import load_runs
from farm.types import Judgment, Pair
from simulators.order import RandomOrder
from simulators.persona import Persona
from simulators.recorder import write_lines
from simulators.validate import VALIDATE
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
