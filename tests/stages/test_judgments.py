"""Labelling stops where the annotators cannot judge the data."""

from pathlib import Path
from typing import Any

import pytest

from farm.artifacts import Store
from farm.data.records import user_instruction, write_completions, write_instructions
from farm.errors import DataError
from farm.stages import judgments
from farm.stages.job import Job
from farm.types import Completion

PERSONA = {
    "_target_": "simulators.persona.Persona",
    "name": "strict",
    "weights": {"correct": 1.0},
    "temperature": 0.1,
}
FLIP = {"_target_": "simulators.noise.LabelFlip", "p": 0.25}
SHUFFLED = {"_target_": "simulators.noise.ShuffledLabels"}


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Two answers to each of 40 sums."""
    asked = [user_instruction(f"what is {n} + 1 ?", str(n + 1)) for n in range(40)]
    write_instructions(asked, tmp_path / "preference.parquet")
    answers = [
        Completion(i.id, text, "start", k, True) for i in asked for k, text in ((0, "7"), (1, "8"))
    ]
    write_completions(answers, tmp_path / "completions.parquet")
    return {"instructions": tmp_path, "outputs": tmp_path}


def label(folders: dict[str, Path], annotator: dict[str, Any]) -> dict[str, Any]:
    build = Store(folders["outputs"] / "store").building("judgments", "key", lambda: None)
    with build as labels:
        job = Job(
            "farm.stages.judgments:run", "judgments", "key", labels.work, labels.token,
            Store(folders["outputs"]), {"annotator": annotator}, folders, seed=0,
        )  # fmt: skip
        return judgments.run(job)


@pytest.mark.parametrize("annotator", [PERSONA, {**FLIP, "annotator": PERSONA}])
def test_annotators_who_cannot_judge_the_data_stop_the_run(
    annotator: dict[str, Any], folders: dict[str, Path]
) -> None:
    """Coins of the noise wrapper do not hide it."""
    with pytest.raises(DataError, match=r"no verdict .* barnyard.* annotators=demonstration_over"):
        label(folders, annotator)
    assert not list(folders["outputs"].glob("store/*/*/judgments-*.parquet"))


def test_who_can_judge_labels_on(folders: dict[str, Path]) -> None:
    overlap = {"_target_": "simulators.overlap.DemonstrationOverlap"}
    assert label(folders, {**FLIP, "annotator": overlap})["no_verdict"] == 0


def test_shuffled_labels_ask_nobody(folders: dict[str, Path]) -> None:
    assert label(folders, {**SHUFFLED, "annotator": PERSONA})["noised"] == 40
