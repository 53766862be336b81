"""AlpacaEval's annotation rows: inside, a preference is P(output_b is better); there it is 1 to 2,
and nothing where there is no verdict. output_1 is output_a."""

from dataclasses import asdict
from typing import Any

from farm.data.records import last_user_text
from farm.types import Judgment, Pair


def annotation_row(pair: Pair, judgment: Judgment) -> dict[str, Any]:
    """An AlpacaEval row. A conversation of several turns has `messages` beside its last user turn,
    so that it can be read back."""
    messages = pair.instruction.messages
    whole = {"messages": [asdict(message) for message in messages]} if len(messages) > 1 else {}
    return {
        "instruction": last_user_text(pair.instruction),
        **whole,
        "output_1": pair.output_a,
        "output_2": pair.output_b,
        "annotator": judgment.annotator,
        "preference": None if judgment.preference is None else judgment.preference + 1,
        "raw_completion": judgment.raw,
        "price_per_example": judgment.cost_usd,
        "time_per_example": judgment.latency_s,
    }
