"""The tables of a comparison as people read them, from the frames of
`farm.studies.comparison_tables`."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from farm.reporting.study_layouts import Layout
from farm.reporting.views import Column

RATES = (
    Column("Pool", "%", "pool", 1),
    Column("Held-out", "%", "held_out", 1),
    Column("Length controlled", "%", "length_controlled", 1),
    Column("Gold", "%", "gold", 1),
)
_FLOP = 1e12
_COSTS = (
    Column("Labels", "", "judgments", 0),
    Column("Prompts", "", "prompts", 0),
    Column("Training", "10¹² FLOP", "training", 1),
    Column("Wall time", "s", "wall_s", 0),
)
_NAMES = {"name": "Policy", "letters": "Groups"}


def win_rates(frame: pd.DataFrame) -> Layout:
    """Who is how good."""
    return Layout("Win rates", _about_rates(frame), _NAMES, RATES, _named(frame))


def costs(frame: pd.DataFrame) -> Layout:
    """What it takes."""
    return Layout(
        "Costs",
        f"{_ABOUT_COSTS} Beside a method stand the keys that its best trial gave it.",
        {"name": "Method", "settings": "Settings"},
        [*_COSTS, _drawn(frame)],
        _named(frame[frame["learned"]]),
    )


def whole(frame: pd.DataFrame) -> Layout:
    """Both in one."""
    return Layout(
        "All methods",
        f"{_about_rates(frame)} {_ABOUT_COSTS}",
        _NAMES,
        [*RATES, *_COSTS, _drawn(frame)],
        _named(frame),
    )


def _about_rates(frame: pd.DataFrame) -> str:
    seeds = frame["seeds"].max()
    means = f"Means over {seeds} seeds" if seeds > 1 else "One seed"
    return (
        "Win rates in percent against the start policy at its best temperature: by the training "
        f"pool, by judges that did not train, by the pool at equal lengths, and by gold. {means}, "
        "the selected checkpoint of each; 95 % intervals by a bootstrap crossed over seeds and "
        "instructions. Policies that share a letter are not told apart by the pool (all pairs, "
        "Holm, 5 %)."
    )


_ABOUT_COSTS = (
    "Costs are means over seeds, without the start's, which all share: labels used, different "
    "instructions labelled, demonstrated or answered, floating-point operations and seconds of "
    "training with the reward model where one is needed, and answers drawn for one that is given."
)


def _drawn(frame: pd.DataFrame) -> Column:
    whole = (frame["drawn"] % 1 == 0).all()
    return Column("Drawn", "per answer", "drawn", 0 if whole else 1)


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    settings = frame["settings"].fillna("")
    return frame.assign(
        name=[_name(row) for row in frame.to_dict("records")],
        training=frame["flops"] / _FLOP,
        settings=settings,
    )


def _name(row: Mapping[Any, Any]) -> str:
    """With a word on where it is the reference, which is chosen seed by seed."""
    seeds, of_seeds = row["seeds"], row["reference_of"]
    if not of_seeds:
        return str(row["policy"])
    where = "" if of_seeds == seeds else f" on {of_seeds} of {seeds} seeds"
    return f"{row['policy']} (reference{where})"


def trials(frame: pd.DataFrame) -> Layout:
    """All that was tried."""
    return Layout(
        "Trials",
        "On seeds that the win rates above do not use, the win rate of each trial's selected "
        "checkpoint by one annotator on the split `validation`, with its interval over "
        "instructions. The trial with the highest mean is the method's best.",
        {"method": "Method", "settings": "Settings", "seed": "Seed", "best": "Best"},
        [
            Column("Win rate", "%", "win_rate", 1),
            Column("Selected", "step", "step", 0),
            Column("Among", "checkpoints", "checkpoints", 0),
        ],
        frame.assign(best=frame["chosen"].map({True: "yes", False: ""})),
    )
