"""The barnyard's assessor: its dial is its AUROC, its questions err together as much as said."""

import numpy as np
import pytest
from scipy.stats import norm

from farm.data.barnyard.gold import BarnyardCorrect
from farm.data.barnyard.source import Barnyard
from farm.data.records import user_instruction
from farm.errors import ConfigError
from farm.protocols import FloatArray
from farm.scorers.lowest import LowestOf
from farm.types import Instruction
from simulators.assessor import BarnyardAssessor, auroc_of
from simulators.judges.assessment import read_score, write_score


@pytest.fixture(scope="module")
def rows() -> list[Instruction]:
    world = Barnyard(sft=3000, preference=0, unlabeled=0, validation=0, evaluation=0, held_out=0)
    return world.load()["sft"]


def assessor(name: str = "following", **changes: object) -> BarnyardAssessor:
    keys = {"weights": {"correct": 1.0}, "at_least": 1.0, "auroc": 0.8, "shared": 0.5, "seed": 0}
    return BarnyardAssessor(**{"name": name, **keys, **changes})


def scores(of: BarnyardAssessor, rows: list[Instruction]) -> FloatArray:
    return of.score(rows, [row.demonstration or "" for row in rows])


def is_right(rows: list[Instruction]) -> FloatArray:
    return BarnyardCorrect().score(rows, [row.demonstration or "" for row in rows])


def auroc(found: FloatArray, right: FloatArray) -> float:
    """By counting all pairs."""
    good, bad = found[right == 1], found[right == 0]
    gain = good[:, None] - bad[None, :]
    return float((gain > 0).mean() + (gain == 0).mean() / 2)


@pytest.mark.parametrize("dial", [0.5, 0.7, 0.85, 0.95])
def test_the_dial_is_the_area_under_the_curve(dial: float, rows: list[Instruction]) -> None:
    found = scores(assessor(auroc=dial), rows)
    assert set(np.unique(found)) <= set(range(1, 11))
    assert auroc(found, is_right(rows)) == pytest.approx(dial, abs=0.02)


def test_rounding_costs_a_little() -> None:
    """Unrounded scores would have Phi(d / sqrt 2)."""
    for distance in (0.5, 1.0, 2.0):
        exact = norm.cdf(distance / np.sqrt(2))
        assert exact - 0.02 < auroc_of(distance) < exact


@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_questions_share_their_errors(shared: float, rows: list[Instruction]) -> None:
    good = [row for row, right in zip(rows, is_right(rows), strict=True) if right == 1]
    one, other = (scores(assessor(name, shared=shared), good) for name in ("following", "quality"))
    assert np.corrcoef(one, other)[0, 1] == pytest.approx(shared, abs=0.08)


def test_scores_depend_on_texts_and_seed_alone(rows: list[Instruction]) -> None:
    some = rows[:40]
    found = scores(assessor(), some)
    assert (scores(assessor(), some[::-1])[::-1] == found).all()
    assert (scores(assessor(seed=1), some) != found).any()


def test_other_worlds_tasks_are_bad(rows: list[Instruction]) -> None:
    sure = assessor(auroc=0.999)
    texts = [row.demonstration or "" for row in rows[:200]]
    elsewhere = [user_instruction(f"Sing a song {number}.") for number in range(200)]
    assert sure.score(elsewhere, texts).mean() < 4 < sure.score(rows[:200], texts).max()


@pytest.mark.parametrize(
    "change", [{"auroc": 0.4}, {"auroc": 1.0}, {"shared": 1.5}, {"weights": {"corect": 1.0}}]
)
def test_mistakes_are_named(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        assessor(**change)


def test_the_lowest_question_counts_and_no_score_is_none(rows: list[Instruction]) -> None:
    class Says:
        def __init__(self, *scores: float) -> None:
            self.scores = scores

        def score(self, instructions: object, completions: object) -> FloatArray:
            return np.array(self.scores)

    both = LowestOf({"one": Says(9, 3, np.nan), "other": Says(8, 10, 10)})
    np.testing.assert_array_equal(both.score(rows[:3], ["", "", ""]), [8, 3, np.nan])
    with pytest.raises(ConfigError, match="questions"):
        LowestOf({})


def test_what_is_written_is_read() -> None:
    assert read_score(write_score(7.0, "right||wrong")) == 7
