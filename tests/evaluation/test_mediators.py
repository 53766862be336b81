import numpy as np
import pandas as pd
import pytest

from farm.evaluation import length_controlled_win_rate
from farm.evaluation.glm import sigmoid
from farm.evaluation.mediators import controlled_win_rate
from farm.evaluation.text_features import list_items, markdown
from farm.seeds import generator


def judged(n: int) -> pd.DataFrame:
    """Verdicts of a judge who likes length and lists; the policy is worse, but longer and listy."""
    rng = generator(0, "mediators")
    longer, items = rng.normal(300, 500, n), rng.poisson(3, n)
    logits = -0.5 + 1.2 * np.tanh(longer / 500) + 2.0 * np.tanh(items / np.sqrt(3))
    return pd.DataFrame(
        {
            "instruction_id": np.arange(n),
            "length_baseline": 5000.0,
            "length_model": 5000 + longer,
            "lists_baseline": 0,
            "lists_model": items,
            "preference": (rng.random(n) < sigmoid(logits)).astype(float),
        }
    )


def test_controlling_for_all_that_the_judge_likes_finds_quality() -> None:
    frame, truth = judged(20_000), 100 * sigmoid(np.array(-0.5))
    found = controlled_win_rate(frame, ["length", "lists"])
    assert found.low < truth < found.high
    assert found.weights.mediators["length"].weight == pytest.approx(-1.2, abs=0.15)
    assert found.weights.mediators["lists"].weight == pytest.approx(-2.0, abs=0.25)
    assert found.weights.mediators["lists"].scale == pytest.approx(np.sqrt(3), rel=0.05)
    assert found.variant == "length + lists, newton"
    assert length_controlled_win_rate(frame).value > truth + 20


def test_length_is_one_mediator_and_none_is_the_raw_rate() -> None:
    frame = judged(300)
    by_length = length_controlled_win_rate(frame)
    general = controlled_win_rate(frame, ["length"])
    assert general._replace(weights=None) == by_length._replace(weights=None)
    assert general.weights.mediators["length"] == (
        by_length.weights.length,
        by_length.weights.length_scale,
    )
    nothing = controlled_win_rate(frame, [])
    assert nothing.value == pytest.approx(100 * frame["preference"].mean(), abs=0.01)


@pytest.mark.parametrize(
    ("text", "items", "marks"),
    [
        ("Two hens.\n- one\n- two", 2, 0),
        ("1. one\n2) two\nthree", 2, 0),
        ("# Hens\nThey are **very** good at `laying`.", 0, 3),
        ("```\ncode\n```\nSee [this](http://example.org).", 0, 3),
        ("a * b ** c, 5 > 3, #1", 0, 0),
    ],
)
def test_text_features_count(text: str, items: int, marks: int) -> None:
    assert (list_items(text), markdown(text)) == (items, marks)
