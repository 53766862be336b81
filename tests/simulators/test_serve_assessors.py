"""Assessors over HTTP: an LLM judge's scores of single answers are those of the program served."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openai")

from farm.config import build, compose, plain
from farm.data.barnyard.source import Barnyard
from farm.errors import FarmError
from farm.protocols import Scorer
from farm.types import Instruction
from simulators.serve import SERVE
from simulators.serving.app import make_app
from simulators.serving.background import serving


@pytest.fixture(scope="module")
def rows() -> list[Instruction]:
    world = Barnyard(sft=60, preference=0, unlabeled=0, validation=0, evaluation=0, held_out=0)
    return world.load()["sft"]


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with serving(make_app(plain(compose((), SERVE)))) as url:
        yield url


def self_assessment(base_url: str, work: Path, *overrides: str) -> Scorer:
    """The reward that asks an LLM judge both questions."""
    model = "endpoints.strong.model"
    config = plain(
        compose(
            [
                "reward=self_assessment", "endpoints=open_weights", f"{model}.model=clean",
                f"{model}.base_url={base_url}", f"runs_dir={work}", *overrides,
            ]
        )
    )  # fmt: skip
    scorer = build(config["reward"])
    assert isinstance(scorer, Scorer)
    return scorer


def test_both_questions_are_answered_and_the_lower_score_counts(
    base_url: str, rows: list[Instruction], tmp_path: Path
) -> None:
    answers = [row.demonstration or "" for row in rows]
    assessors = build(plain(compose((), SERVE))["assessors"])
    each = [assessors[question].score(rows, answers) for question in ("following", "quality")]
    found = self_assessment(base_url, tmp_path).score(rows, answers)
    np.testing.assert_array_equal(found, np.min(each, axis=0))
    assert (each[0] != each[1]).any() and len(set(found)) > 3


def test_a_question_that_nobody_answers_is_refused(rows: list[Instruction], tmp_path: Path) -> None:
    config = plain(compose(["~assessors.quality"], SERVE))
    with serving(make_app(config)) as url, pytest.raises(FarmError, match=r"assessors\.quality"):
        self_assessment(url, tmp_path).score(rows[:1], ["cow"])
