"""What a self-training study says of made-up figures, and what the stage behind it verifies."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_self_training import BASELINE, GAIN, ROUNDS, TEMPERATURES, measured, study
from rich.console import Console

from farm.data.candidates import FILE, Candidate, to_json
from farm.data.records import user_instruction, write_completions, write_instructions
from farm.errors import ConfigError
from farm.reporting.self_training_page import print_self_training, summary, write_self_training
from farm.stages import verification
from farm.stages.job import Job
from farm.studies.self_training_study import SelfTrainingStudy
from farm.studies.self_training_tables import START, self_training_tables
from farm.types import Completion

Tables = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def tables() -> Tables:
    return self_training_tables(measured(), BASELINE)


def test_rounds_have_accuracy_and_what_was_kept(tables: Tables) -> None:
    rounds = tables["rounds"].set_index(["variant", "round"])
    assert len(rounds) == len(GAIN) * (ROUNDS + 1)
    for name, gain in GAIN.items():
        risen = rounds.loc[(name, ROUNDS), "accuracy"] - rounds.loc[(name, 0), "accuracy"]
        assert risen == pytest.approx(ROUNDS * gain, abs=0.5)
        assert np.isnan(rounds.loc[(name, 0), "precision"])
    of = measured().candidates
    first = of[(of["variant"] == BASELINE) & (of["round"] == 1) & of["kept"]]
    by_seed = 100 * first.groupby("seed")["verdict"].mean()
    assert rounds.loc[(BASELINE, 1), "precision"] == pytest.approx(by_seed.mean())
    assert rounds.loc[(BASELINE, 1), "valid"] == 100


def test_variants_are_held_against_the_papers_way_and_the_hardest_start(tables: Tables) -> None:
    differences = tables["differences"].set_index("variant")
    assert set(differences.index) == set(GAIN) - {BASELINE}
    assert differences.loc["continued", "difference"] == pytest.approx(12, abs=0.5)
    assert differences.loc["continued", "adjusted"] < 0.05
    assert differences.loc["random filter", "difference"] == pytest.approx(-12, abs=0.5)
    gains = tables["gains"].set_index("variant")["difference"]
    hardest = max(TEMPERATURES.values())
    assert gains[BASELINE] == pytest.approx(TEMPERATURES[0.7] + 12 - hardest, abs=0.5)
    assert START not in gains.index


def test_precision_rises_with_the_threshold_of_an_assessment_that_knows(tables: Tables) -> None:
    thresholds = tables["thresholds"]
    both = thresholds[thresholds["assessment"] == "both"].set_index("threshold")
    noise = thresholds[thresholds["assessment"] == "noise"].set_index("threshold")
    assert list(both.index) == list(range(1, 11))
    assert both.loc[9, "precision"] == 100
    assert both.loc[1, "precision"] == pytest.approx(50, abs=5)
    assert both.loc[1, "kept_share"] == 90  # rules dropped the others
    assert both["kept_share"].is_monotonic_decreasing
    assert noise.loc[9, "precision"] == pytest.approx(50, abs=12)
    rules = tables["rules"].set_index(["variant", "round", "dropped_by"])
    assert rules.loc[(BASELINE, 1, "length"), "tasks"] == 20


def test_the_report_says_which_published_effects_show(tables: Tables, tmp_path: Path) -> None:
    said = list(summary(tables, BASELINE))
    (continued,) = (s for s in said if s.startswith("continued"))
    (cumulative,) = (s for s in said if s.startswith("cumulative"))
    assert continued.endswith("Here it is the reverse.")
    assert cumulative.endswith("This does not show at this scale.")
    page, text = write_self_training(tmp_path, tables, BASELINE)
    assert "random filter" in page.read_text() and "Here it is the reverse" in page.read_text()
    assert "Thresholds" in text.read_text()
    assert {"rounds.csv", "accuracy.png", "precision.png"} <= {p.name for p in tmp_path.iterdir()}


def test_one_seed_is_reported_too(tmp_path: Path) -> None:
    tables = self_training_tables(measured((1,)), BASELINE)
    console = Console(file=io.StringIO(), width=80)
    print_self_training(tables, BASELINE, console)
    write_self_training(tmp_path, tables, BASELINE)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "does not show at this scale" in " ".join(text.split())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"baseline": "from bas"}, "Did you mean from base"),
        ({"seeds": (1, 1)}, "study.seeds"),
        ({"variants": {"from base": []}}, "two or more"),
    ],
)
def test_mistakes_are_named(change: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SelfTrainingStudy(**{**vars(study()), **change})  # type: ignore[arg-type]


def test_the_stage_verifies_answers_and_leaves_out_what_was_dropped(tmp_path: Path) -> None:
    task = "list all of these : cow pig hen"
    rows = [
        Candidate(task, "", "sure , cow , pig , hen .", None, 9.0, kept=True),
        Candidate(task, "", "cow", None, None, kept=False),
        Candidate("sing a little song", "", "la", None, 3.0, kept=False),
        Candidate("too short", "", None, "length", None, kept=False),
    ]
    folders = {name: tmp_path / name for name in ("policy", "instructions", "answers 0")}
    for folder in folders.values():
        folder.mkdir()
    (folders["policy"] / FILE.format(round=1)).write_text(to_json(rows))
    asked = [user_instruction(task, category="list")]
    write_instructions(asked, folders["instructions"] / "evaluation.parquet")
    write_completions(
        [Completion(asked[0].id, "cow , pig , hen", "start", 0, stopped=True)],
        folders["answers 0"] / "completions.parquet",
    )
    truth = {"_target_": "farm.data.barnyard.gold.BarnyardCorrect"}
    config = {"verifier": truth, "assessments": {"truth": truth}}
    job = Job(
        "", "verification", "key", tmp_path, "", tmp_path,
        {**config, "split": "evaluation", "limit": None}, folders, seed=0,
    )  # fmt: skip
    assert verification.run(job) == {"rounds": 1}
    found = pd.read_parquet(tmp_path / "candidates.parquet")
    np.testing.assert_array_equal(found["verdict"], [1, 0, np.nan, np.nan])
    np.testing.assert_array_equal(found["by truth"], [1, 0, np.nan, np.nan])
    np.testing.assert_array_equal(found["score"], [9, np.nan, 3, np.nan])
    answers = pd.read_parquet(tmp_path / "answers.parquet")
    assert answers[["policy", "verdict"]].values.tolist() == [["0", 1.0]]
