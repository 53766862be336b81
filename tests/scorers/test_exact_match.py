"""Numbers as people write them, and rows without a known answer."""

import numpy as np
import pytest

from farm.data.records import user_instruction
from farm.scorers.exact_match import GSM8KExactMatch, final_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("So 5 + 7 = 12.\n#### 12", 12),
        ("#### 1,234.50", 1234.5),
        ("#### -3", -3),
        ("It costs $1,000,000.", 1_000_000),
        ("2 x 3 = 6 apples\nThat makes 6 + 1 = $7.00 for 4 people.", 7),
        ("She has 20-8 of them.", 8),
        ("It takes 6 / 3 = .5 hours.", 0.5),
        ("There are 3 = three.", 3),
        ("none", None),
        ("", None),
        ("#### none, though 5 was near", 5),
    ],
)
def test_the_final_number(text: str, number: float | None) -> None:
    assert final_number(text) == number


def test_scores_are_one_zero_or_nan() -> None:
    marked = user_instruction("q", "1 + 1 = 2\n#### 2", source="a")
    unmarked = user_instruction("q", "1 + 1 = 2 birds", source="copy")
    open_ended = user_instruction("q", "a poem about 2 birds", source="poems")
    unknown = user_instruction("q")
    instructions = [marked, marked, marked, unmarked, open_ended, unknown]
    answers = ["2", "I think #### 2.0", "3", "it is 2", "2", "2"]
    scores = GSM8KExactMatch(sources=["copy"]).score(instructions, answers)
    np.testing.assert_array_equal(scores, [1, 1, 0, 1, np.nan, np.nan])
    assert np.isnan(GSM8KExactMatch().score([unmarked], ["2"])).all()
