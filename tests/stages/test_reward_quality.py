"""What is measured of a reward whose quality is known: gold itself, its opposite, one that knows
nothing, one that does not always apply."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from farm import run as farm_run
from farm.artifacts import Store
from farm.config import cli
from farm.data.barnyard.source import Barnyard
from farm.data.records import write_completions, write_instructions
from farm.errors import DataError
from farm.evaluation.reward_figures import bench_figures, label_figures
from farm.evaluation.reward_models import noisy_ceiling
from farm.protocols import FloatArray
from farm.scorers.stored import write_scorer
from farm.stages import reward_quality
from farm.stages.evaluation import load_items
from farm.stages.job import Job
from farm.types import Completion, Instruction

GOLD = {"_target_": "farm.data.barnyard.gold.BarnyardGold"}
HUMAN = {
    "_target_": "simulators.bradley_terry.BradleyTerryAnnotator",
    "name": "human",
    "utility": GOLD,
    "temperature": 0.3,
}
NOISY = {"_target_": "simulators.noise.LabelFlip", "p": 0.25, "annotator": HUMAN}
ASKED = 400


def nothing(instructions: Sequence[Instruction], texts: Sequence[str]) -> FloatArray:
    """All answers are alike."""
    return np.zeros(len(texts))


def shy(instructions: Sequence[Instruction], texts: Sequence[str]) -> FloatArray:
    """Scores no answer with an odd number of words."""
    return np.array([np.nan if len(text.split()) % 2 else float(len(text)) for text in texts])


def scorer(function: str) -> dict[str, Any]:
    return {
        "_target_": "farm.scorers.callable.CallableScorer",
        "function": f"{__name__}:{function}",
    }


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Instructions of the barnyard; the answers to each are demonstrations of two worlds, in one of
    which most are right and in the other few."""
    folder = tmp_path_factory.mktemp("asked")
    worlds = [
        Barnyard(sft=8, preference=8, unlabeled=8, validation=ASKED, evaluation=8, held_out=8,
                 world_seed=0, correct=correct).load()["validation"]
        for correct in ((0.9, 0.9, 0.9), (0.1, 0.1, 0.1))
    ]  # fmt: skip
    write_instructions(worlds[0], folder / "validation.parquet")
    answers = []
    for number, both in enumerate(zip(*worlds, strict=True)):
        answers += [
            Completion(both[0].id, str(one.demonstration), "start", sample, True)
            for sample, one in enumerate(both if number % 3 else both[::-1])
        ]
    write_completions(answers, folder / "completions.parquet")
    return folder


def measured(asked: Path, root: Path, reward: dict[str, Any], **config: Any) -> Path:
    """The artefact's folder while it is there to be read."""
    (root / "reward").mkdir()
    write_scorer(reward, root / "reward")
    nodes = {"clean": HUMAN, "noisy": NOISY, "gold": GOLD, "split": "validation", "limit": None}
    parents = {"reward": root / "reward", "outputs": asked, "instructions": asked}
    return run(root, "run", {**nodes, **config}, parents)


def run(root: Path, function: str, config: dict[str, Any], parents: dict[str, Path]) -> Path:
    with Store(root / "store").building("reward_quality", "key", lambda: None) as build:
        job = Job(
            f"farm.stages.reward_quality:{function}", "reward_quality", "key", build.work,
            build.token, Store(root), config, parents, seed=5,
        )  # fmt: skip
        results = getattr(reward_quality, function)(job)
        (build.work / "results.json").write_text(json.dumps(results))
        build.publish({"results": results})
    return root / "store" / "reward_quality" / "key"


def figures(folder: Path) -> pd.DataFrame:
    return label_figures(load_items(folder), replicates=200).set_index("labels")


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


def test_gold_itself_is_always_right_by_gold_and_reaches_every_ceiling(
    asked: Path, tmp_path: Path
) -> None:
    folder = measured(asked, tmp_path, GOLD)
    found, items = figures(folder), load_items(folder)
    assert found.loc["gold", "accuracy"] == 100
    assert found.loc["gold", "pairs"] == (items["gold"] != 0).sum() > ASKED / 2
    for labels in ("clean", "noisy"):  # these people know gold
        assert found.loc[labels, "accuracy"] == pytest.approx(found.loc[labels, "annotators"])
    told = results(folder)
    assert told["pairs"] == len(items) == ASKED - told["identical"] < ASKED


def test_the_ceiling_on_noisy_labels_is_the_one_of_closed_form(asked: Path, tmp_path: Path) -> None:
    folder = measured(asked, tmp_path, GOLD)
    items = load_items(folder)
    ids = items["instruction_id"].tolist()
    expected = noisy_ceiling(items["clean"].to_numpy(), ids, flip=0.25, replicates=200).best
    found = figures(folder).loc["noisy"]
    assert found["annotators_low"] < 100 * expected.estimate < found["annotators_high"]
    assert set(items["noisy"]) == {0.0, 1.0}
    assert items["clean"].nunique() > 10


def test_a_reward_that_knows_nothing_is_right_by_half(asked: Path, tmp_path: Path) -> None:
    found = figures(measured(asked, tmp_path, scorer("nothing")))
    assert (found["accuracy"] == 50).all()
    assert found["brier"].loc["gold"] == pytest.approx(0.25)
    assert found["slope"].isna().all()


def test_missing_scores_are_counted_and_told(asked: Path, tmp_path: Path) -> None:
    folder = measured(asked, tmp_path, scorer("shy"))
    items, told = load_items(folder), results(folder)
    unscored = items[["score_a", "score_b"]].isna().any(axis=1).sum()
    assert 0 < unscored < len(items)
    assert told["unscored"] == unscored
    assert told["notes"] == [
        f"{unscored} of {len(items)} pairs have an answer without a score and are left out."
    ]
    assert figures(folder).loc["clean", "pairs"] == len(items) - unscored


def test_judges_that_are_no_programs_are_asked_and_without_gold_there_is_none(
    asked: Path, tmp_path: Path
) -> None:
    folder = measured(asked, tmp_path, GOLD, clean=NOISY, gold=None)
    found, items = figures(folder), load_items(folder)
    assert set(items["clean"]) == {0.0, 1.0}
    assert (folder / "judgments clean.parquet").exists()
    assert found.loc["gold", "pairs"] == 0
    assert found.loc["gold"].drop("pairs").isna().all()


def test_a_file_of_pairs(tmp_path: Path) -> None:
    rows = [
        {"prompt": "count", "chosen": "one two", "rejected": "one", "subset": subset}
        for subset in ("math-prm", "math-prm", "hep-cpp")
    ]
    rows[1] |= {"chosen": "one", "rejected": "one two"}
    path = tmp_path / "bench.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "reward").mkdir()
    write_scorer(scorer("longer"), tmp_path / "reward")
    folder = run(tmp_path, "bench", {"path": str(path)}, {"reward": tmp_path / "reward"})
    found = bench_figures(load_items(folder)).set_index("part")["accuracy"]
    assert found["math-prm"] == 50
    assert found["hep-cpp"] == 100
    assert found["Reasoning"] == pytest.approx((984 * 50 + 164 * 100) / (984 + 164))
    assert found["mean"] == found["Reasoning"]


def longer(instructions: Sequence[Instruction], texts: Sequence[str]) -> FloatArray:
    return np.array([float(len(text)) for text in texts])


def test_a_missing_file_of_pairs_ends_a_run_before_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["dry_run=true", f"runs_dir={tmp_path}", "evaluation.reward_bench=no.jsonl"]
    assert cli(farm_run.task, asked) == DataError.exit_code
    told = capsys.readouterr().err
    assert "evaluation.reward_bench" in told and "no.jsonl" in told
