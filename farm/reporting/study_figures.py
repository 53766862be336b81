"""The figures of a study; win rates are percent against the reference."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from farm.reporting import plots
from farm.reporting.formats import interval, number
from farm.reporting.overoptimization_figure import crossed_figure, failure_figure
from farm.studies.over_seeds import over_seeds
from farm.studies.overoptimization import PROXY, UTILITY

MARKERS = {True: ("learned", "o", plots.SERIES_COLOURS[0]), False: ("start", "D", plots.INK)}
"""Label, marker and colour of policies, by whether they are learned."""


def ranking_figure(win_rates: pd.DataFrame, correlations: pd.DataFrame, human: str) -> Figure:
    """Every policy by people and by simulation, who each train and judge: a panel per simulated
    annotators, a dot per policy."""
    own = win_rates[win_rates["annotators"] == win_rates["evaluator"]]
    groups = own.groupby("annotators", sort=False)
    sides = {str(name): rows.set_index("policy") for name, rows in groups}
    people = sides.pop(human)
    agreed = correlations[correlations["comparison"] == "end to end"]
    agreed = agreed[agreed["policies"] == "all"].set_index("annotators")
    with mpl.rc_context(plots.STYLE):
        figure, panels = plots.panels(len(sides))
        for axes, (name, simulated) in zip(panels, sides.items(), strict=True):
            _scatter(axes, people, simulated.loc[people.index])
            row = agreed.loc[name].to_dict()
            spearman = f"{number(row['spearman'], 2)} ({interval(row, 'spearman', 2)})"
            axes.set_title(f"{name}\nSpearman {spearman}, n = {row['n']}")
            axes.set_xlabel(f"Win rate by {human} (%)")
        panels[0].set_ylabel("Win rate in simulation (%)")
        plots.legend(figure, panels[0])
    return figure


def _scatter(axes: Axes, people: pd.DataFrame, simulated: pd.DataFrame) -> None:
    ends = [side[f"win_rate_{end}"] for side in (people, simulated) for end in ("low", "high")]
    span = [min(map(min, ends)), max(map(max, ends))]
    axes.plot(span, span, color=plots.INK, linewidth=0.8, linestyle=(0, (4, 3)))
    for learned, (label, marker, colour) in MARKERS.items():
        x, y = (side[side["learned"] == learned] for side in (people, simulated))
        axes.errorbar(
            x["win_rate"], y["win_rate"], xerr=_reach(x), yerr=_reach(y), label=label,
            fmt=marker, color=colour, markersize=4, elinewidth=0.7, alpha=0.8,
        )  # fmt: skip


def _reach(rows: pd.DataFrame) -> np.ndarray:
    """From the win rate to both ends of its interval, [2, policies]."""
    low = rows["win_rate"] - rows["win_rate_low"]
    high = rows["win_rate_high"] - rows["win_rate"]
    return np.stack([low, high])


DOSED = {
    "spearman": "Spearman with people",
    "regret": "Gold utility lost",
    "chosen_length": "Length of the chosen (chars)",
}


def dose_figure(dose_response: pd.DataFrame) -> Figure:
    """What each dialled bias does, a panel per measure and a line per bias."""
    with mpl.rc_context(plots.STYLE):
        figure = Figure(
            figsize=(plots.WIDTH_IN * len(DOSED), plots.HEIGHT_IN), layout="constrained"
        )
        panels = figure.subplots(1, len(DOSED))
        for axes, (column, title) in zip(panels, DOSED.items(), strict=True):
            plots.draw_each(axes, dose_response, "bias", column, "dose")
            plots.label(axes, title, "Dose of the bias")
        plots.legend(figure, panels[0])
    return figure


def followed_figure(followed: pd.DataFrame, judges: dict[str, str]) -> Figure:
    """The proxy, these judges (by title) and gold utility over √KL, a line per annotators; bands
    are over seeds."""
    titles = {PROXY: "Proxy reward", **judges, UTILITY: "Gold utility"}
    rows = followed[followed["evaluator"].isin(list(titles))]
    places = rows["evaluator"].map({name: place for place, name in enumerate(titles)})
    rows = rows.assign(evaluator=rows["evaluator"].map(titles), place=places)
    return crossed_figure(rows.sort_values("place", kind="stable"))


FAILING = ("sqrt_kl", "proxy_win_rate", "pool_win_rate", "gold_win_rate")


def failures_figure(failures: pd.DataFrame) -> Figure:
    """Proxy, the annotators' own judge and gold on the same answers, a panel per annotators; means
    and bands are over seeds."""
    means = over_seeds(failures, ["annotators", "step"], FAILING)
    return failure_figure(
        {str(name): rows for name, rows in means.groupby("annotators", sort=False)}
    )
