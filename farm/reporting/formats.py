"""How figures look, in the terminal and in the report."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

EN_DASH = "\N{EN DASH}"
NOT_APPLICABLE = EN_DASH


def number(value: object, decimals: int = 1) -> str:
    """A figure with its decimals; an en dash where there is none."""
    if value is None or pd.isna(value):  # type: ignore[call-overload]
        return NOT_APPLICABLE
    # Adding 0.0 turns the -0.0 that rounding leaves into 0.0.
    return f"{round(float(str(value)), decimals) + 0.0:,.{decimals}f}"


def interval(row: Mapping[Any, Any], column: str, decimals: int = 1) -> str:
    """`71.0–79.1`, from the columns `column_low` and `column_high`; empty where there is none."""
    low, high = (number(row.get(f"{column}_{end}"), decimals) for end in ("low", "high"))
    if NOT_APPLICABLE in (low, high):
        return ""
    return f"{low} to {high}" if high.startswith("-") else f"{low}{EN_DASH}{high}"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`, `2 h 04 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def cost(cost_usd: float | None) -> str:
    """US dollars."""
    return NOT_APPLICABLE if cost_usd is None else f"${cost_usd:,.2f}"
