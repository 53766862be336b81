"""chrF in closed form, and the annotator that follows it."""

import numpy as np
import pytest

from farm.data.records import make_pair, turn_judgment, turn_pair, user_instruction
from simulators.overlap import DemonstrationOverlap, chrf

INSTRUCTION = user_instruction("name a bird", "a hen")


@pytest.mark.parametrize(
    ("text", "reference", "expected"),
    [
        ("a hen", "a hen", 1.0),
        ("ahen", "a h e n", 1.0),  # spaces do not count
        ("xyz", "a hen", 0.0),
        ("", "a hen", 0.0),
        # Letters: precision 1/2, recall 1/1; pairs: precision 0/1, recall 0. Averages over both
        # orders: 1/4 and 1/2; F with beta 2: 5 * 1/8 / (4 * 1/4 + 1/2) = 5/12.
        ("ab", "a", 5 / 12),
    ],
)
def test_chrf(text: str, reference: str, expected: float) -> None:
    assert chrf(text, reference) == pytest.approx(expected)


def test_prefers_what_resembles_the_demonstration() -> None:
    pair = make_pair(INSTRUCTION, "a hen !", "some cow")
    annotator = DemonstrationOverlap(temperature=0.05)
    gain = chrf("some cow", "a hen") - chrf("a hen !", "a hen")
    expected = annotator.expectation([pair, turn_pair(pair)])
    assert expected[0] == pytest.approx(1 / (1 + np.exp(-gain / 0.05)))
    assert expected.sum() == pytest.approx(1)
    (straight,), (turned,) = (annotator.annotate([p], seed=0) for p in (pair, turn_pair(pair)))
    assert turn_judgment(turned).preference == straight.preference == 0.0


def test_no_demonstration_no_verdict() -> None:
    pair = make_pair(user_instruction("name a bird"), "a hen", "a duck")
    (judgment,) = DemonstrationOverlap().annotate([pair], seed=0)
    assert judgment.preference is None
    assert "no demonstration" in str(judgment.error)
