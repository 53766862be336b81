"""The columns of `curve.parquet` and `final.parquet`."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

CURVE_COLUMNS = (
    "step",
    "episodes",
    "wall_s",
    "kl_to_start",
    "proxy_reward",
    "pool_preference",
    "win_rate",
    "win_rate_low",
    "win_rate_high",
    "held_out_win_rate",
    "length_controlled_win_rate",
    "gold_utility",
    "gold_win_rate",
    "mean_length",
    "judgments_used",
    "cost_usd",
)
"""One row per evaluated checkpoint. Rates are percent against the reference, `wall_s` is training
time in seconds, `kl_to_start` nats per answer, `mean_length` characters."""

INTERVAL_COLUMNS = tuple(
    f"{name}_{end}"
    for name in (
        "pool_preference",
        "held_out_win_rate",
        "length_controlled_win_rate",
        "gold_utility",
        "gold_win_rate",
    )
    for end in ("low", "high")
)
COUNT_COLUMNS = ("n", "no_verdict")

FINAL_COLUMNS = (
    "name",
    "role",
    "temperature",
    "step",
    *COUNT_COLUMNS,
    *(name for name in CURVE_COLUMNS[3:] if name not in ("judgments_used", "cost_usd")),
    *INTERVAL_COLUMNS,
)
"""One row per policy on the evaluation split; `role` is one of reference, start, selected, last,
control, excluded."""

TEXT_COLUMNS = frozenset({"name", "role"})

Row = Mapping[str, float | int | str | None]


def curve_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Rows of `curve.parquet`: the published columns, then intervals and counts."""
    return _frame(rows, (*CURVE_COLUMNS, *INTERVAL_COLUMNS, *COUNT_COLUMNS))


def final_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Rows of `final.parquet`."""
    return _frame(rows, FINAL_COLUMNS)


def _frame(rows: Iterable[Row], columns: Sequence[str]) -> pd.DataFrame:
    """A frame of exactly these columns; what a row lacks or has as None is null."""
    rows = list(rows)
    return pd.DataFrame(
        {
            name: pd.Series(
                [row.get(name) for row in rows],
                dtype="object" if name in TEXT_COLUMNS else "float64",
            )
            for name in columns
        }
    )
