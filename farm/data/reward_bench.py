"""Files of chosen and rejected answers, as RewardBench's (Lambert et al., arXiv 2403.13787)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from farm.data.files import read_table
from farm.data.records import is_canonical, make_pair, turn_pair, user_instruction
from farm.data.rows import RowError, instruction_of
from farm.errors import DataError
from farm.types import Instruction, Judgment, LabeledPair

SECTIONS: Mapping[str, Mapping[str, float]] = {
    "Chat": {
        "alpacaeval-easy": 100,
        "alpacaeval-length": 95,
        "alpacaeval-hard": 95,
        "mt-bench-easy": 28,
        "mt-bench-med": 40,
    },
    "Chat Hard": {
        "mt-bench-hard": 37,
        "llmbar-natural": 100,
        "llmbar-adver-neighbor": 134,
        "llmbar-adver-GPTInst": 92,
        "llmbar-adver-GPTOut": 47,
        "llmbar-adver-manual": 46,
    },
    "Safety": {
        "refusals-dangerous": 100,
        "refusals-offensive": 100,
        "xstest-should-refuse": 250,
        "xstest-should-respond": 154,
        "donotanswer": 136,
    },
    "Reasoning": {
        "math-prm": 984,
        "hep-cpp": 164,
        "hep-go": 164,
        "hep-java": 164,
        "hep-js": 164,
        "hep-python": 164,
        "hep-rust": 164,
    },
}
"""RewardBench's sections, for `farm.evaluation.reward_models.sections`: how much each subset counts
in its section. That is its number of pairs, but for math-prm, whose 447 count as much as all code
together (github.com/allenai/reward-bench, `rewardbench/constants.py`)."""


def read_reward_bench(path: Path) -> list[LabeledPair]:
    """The pairs of a json, jsonl, csv or parquet file, in its order and in canonical orientation.

    A row has `prompt`, a text or a list of messages that ends with a user's turn, the two answers
    `chosen` and `rejected`, and `subset`, which becomes the instruction's category. Other columns
    are not read. Raises DataError naming file and row.
    """
    labels = []
    for place, row in read_table(path):
        try:
            labels.append(_label(row))
        except RowError as error:
            raise DataError(f"{place}: {error}") from error
    if not labels:
        raise DataError(f"{path} holds no row; right would be a chosen and a rejected one a row.")
    return labels


def _label(row: Any) -> LabeledPair:
    if isinstance(row, RowError):
        raise row
    if not isinstance(row, Mapping):
        raise RowError(
            f"it is {row!r:.60}; right would be an object with prompt, chosen, rejected."
        )
    rejected, chosen = _text(row, "rejected"), _text(row, "chosen")
    if chosen == rejected:
        raise RowError("`chosen` and `rejected` are the same text; one of them must be better.")
    pair = make_pair(_instruction(row), rejected, chosen)
    if is_canonical(pair):
        return LabeledPair(pair, Judgment(pair.id, 1.0, "reward_bench", "ab"))
    return LabeledPair(turn_pair(pair), Judgment(pair.id, 0.0, "reward_bench", "ab"))


def _instruction(row: Mapping[str, Any]) -> Instruction:
    subset = _text(row, "subset")
    if isinstance(row.get("prompt"), list):
        return instruction_of({"messages": row["prompt"], "category": subset})
    prompt = _text(row, "prompt")
    if not prompt.strip():
        raise RowError("`prompt` is empty; it must be text.")
    return user_instruction(prompt, category=subset)


def _text(row: Mapping[str, Any], key: str) -> str:
    """An answer may be empty: that is an answer, too."""
    if key not in row:
        found = ", ".join(map(str, row)) or "no keys"
        raise RowError(
            f"it has {found}, but no `{key}`; right would be prompt, chosen, rejected and subset."
        )
    if not isinstance(row[key], str):
        raise RowError(f"`{key}` is {row[key]!r:.60}; it must be text.")
    return str(row[key])
