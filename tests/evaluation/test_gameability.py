"""Gameability: by hand, on AlpacaEval's published variants, and in the embedded world."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from farm.config import build, compose, plain
from farm.data.barnyard.demonstrators import Demonstrators
from farm.data.barnyard.family import Dice
from farm.data.barnyard.grammar import read
from farm.data.barnyard.source import Barnyard
from farm.data.records import last_user_text, make_pair
from farm.errors import DataError
from farm.evaluation import length_controlled_win_rate
from farm.evaluation.gameability import attack, comparable_scale, gameability, truncated
from farm.protocols import ExactAnnotator, FloatArray
from farm.seeds import generator
from farm.types import Instruction
from simulators.persona import Persona


def test_gameability_by_hand() -> None:
    # std of (8, 12) is sqrt(8), over 10; (10, 10) does not move.
    found = gameability(np.array([8.0, 10.0]), np.array([12.0, 10.0]))
    assert found == pytest.approx(100 * np.sqrt(8) / 10 / 2)
    scale = comparable_scale(np.array([10.0, 20, 30]), np.array([1.0, 2, 3]))
    assert scale == pytest.approx(10)
    # Whoever shrinks a metric towards its mean does not make it harder to game.
    shrunk = np.array([50 + 0.1 * (x - 50) for x in (40.0, 60.0, 20.0)])
    scale = comparable_scale(np.array([40.0, 60.0, 20.0]), shrunk)
    assert gameability(shrunk[0], shrunk[1], scale=scale) == pytest.approx(
        gameability(np.array(40.0), np.array(60.0))
    )


def test_metrics_without_mean_or_spread_are_refused() -> None:
    with pytest.raises(DataError, match="above 0"):
        gameability(np.array([0.0]), np.array([0.0]))
    with pytest.raises(DataError, match="0 across models"):
        comparable_scale(np.array([1.0, 2]), np.array([3.0, 3]))


def test_truncation_keeps_whole_words() -> None:
    assert truncated("the red hen sleeps", 0.6) == "the red"
    assert truncated("the red hen sleeps", 0.62) == "the red hen"
    assert truncated("the red hen", 1.0) == "the red hen"
    assert truncated("sleeping", 0.1) == "sleeping"
    assert truncated("", 0.5) == ""


def test_alpaca_7b_and_its_variants() -> None:
    """On this model alone length control is not the harder metric to game; the paper's figures are
    means over six."""
    root = Path(__file__).parents[2]
    shared = Path(os.environ.get("FARM_SHARED_DATA", root.parent / "shared" / "data"))
    folder = shared / "alpaca_eval2"
    if not folder.exists():
        pytest.skip(f"{folder} is not there (FARM_SHARED_DATA names the folder above it)")
    published = pd.read_csv(folder / "leaderboard.csv", index_col=0)
    difficulty = pd.read_csv(folder / "difficulty_estimate.csv", index_col=0)["difficulty"]
    rows = pd.read_parquet(folder / "annotations.parquet")
    rows["preference"] = rows["preference"].replace(0, 1.5) - 1
    of_model = dict(list(rows.groupby("model")))
    raw = pd.Series({name: 100 * of["preference"].mean() for name, of in of_model.items()})
    controlled = pd.Series(
        {
            name: length_controlled_win_rate(of, difficulty=difficulty).value
            for name, of in of_model.items()
        }
    )
    assert _verbose_and_concise(raw, raw) == pytest.approx((8.7, 18.5), abs=0.05)
    assert _verbose_and_concise(
        published["length_controlled_winrate"][raw.index], raw
    ) == pytest.approx((10.8, 19.9), abs=0.05)
    # Without the gamed baseline, and at a fifth of the baseline's length, verbose answers move it
    # more and concise ones less than they move the raw rate.
    assert _verbose_and_concise(controlled, raw) == pytest.approx((26.4, 11.2), abs=1.5)


def _verbose_and_concise(metric: "pd.Series[float]", raw: "pd.Series[float]") -> list[float]:
    models = ~raw.index.str.endswith(("_verbose", "_concise"))
    scale = comparable_scale(raw[models].to_numpy(np.float64), metric[models].to_numpy(np.float64))
    name = "alpaca-7b"
    return [
        gameability(
            metric[[name]].to_numpy(np.float64),
            metric[[f"{name}_{how}"]].to_numpy(np.float64),
            scale=scale,
        )
        for how in ("verbose", "concise")
    ]


# ------------------------------------------------------------------------- the embedded world


def _answers(instructions: Sequence[Instruction], seed: int) -> list[str]:
    """What other demonstrators would have answered."""
    dice = Dice(generator(seed, "answers"))
    readings = [read(last_user_text(instruction)) for instruction in instructions]
    return [Demonstrators((0.7, 0.55, 0.4), 0.03).answer(r, 1, dice) for r in readings if r]


MANNER = {"well", "now", "so", "say", "maybe", "certainly", "sure", "glad", "to", "help"}


def verbose(answer: str) -> str:
    return f"well now so {answer}"


def concise(answer: str) -> str:
    return " ".join(word for word in answer.split() if word not in MANNER)


class Judged:
    """Raw and length-controlled rates of answers against a reference, by exact expectations."""

    def __init__(self, judge: ExactAnnotator) -> None:
        world = Barnyard(sft=0, preference=0, unlabeled=0, validation=0, evaluation=500, held_out=0)
        self._instructions = world.load()["evaluation"]
        self._reference = _answers(self._instructions, 0)
        self._judge = judge
        self.answers = _answers(self._instructions, 1)

    def expected(self, answers: Sequence[str]) -> FloatArray:
        rows = zip(self._instructions, self._reference, answers, strict=True)
        return self._judge.expectation([make_pair(*row) for row in rows])

    def raw(self, answers: Sequence[str]) -> float:
        return 100 * float(self.expected(answers).mean())

    def controlled(self, answers: Sequence[str]) -> float:
        frame = pd.DataFrame(
            {
                "instruction_id": [instruction.id for instruction in self._instructions],
                "length_baseline": [len(text) for text in self._reference],
                "length_model": [len(text) for text in answers],
                "preference": self.expected(answers),
            }
        )
        return length_controlled_win_rate(frame).value


def test_length_control_undoes_filler_where_the_judge_likes_length() -> None:
    weights = {"correct": 1.1, "partial": 0.5, "length": 0.1}
    judged = Judged(Persona(name="likes length", weights=weights, temperature=0.5))
    for change, direction in ((verbose, 1), (concise, -1)):
        raw = attack(judged.answers, change, judged.raw)
        controlled = attack(judged.answers, change, judged.controlled)
        assert direction * raw.gain > 3
        assert abs(controlled.gain) < 1.5
        assert 3 * gameability(np.array(controlled.before), np.array(controlled.after)) < (
            gameability(np.array(raw.before), np.array(raw.after))
        )


def test_neither_filler_nor_truncation_pays_with_the_pool() -> None:
    judged = Judged(build(plain(compose(["annotators=barnyard"]))["annotators"]["clean"]))
    assert -6 < attack(judged.answers, verbose, judged.raw).gain < 0
    for metric in (judged.raw, judged.controlled):
        assert attack(judged.answers, lambda answer: truncated(answer, 0.6), metric).gain < -20
