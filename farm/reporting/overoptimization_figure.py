"""Over-optimisation as figures: what every judge sees the further a policy is from its start."""

from collections.abc import Mapping
from itertools import product

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from farm.reporting import plots

SQRT_KL = "√KL to the start (nats$^{½}$)"
JUDGES = (
    plots.Series("proxy_win_rate", "proxy", plots.SERIES_COLOURS[1], plots.DASHES[1]),
    plots.Series("pool_win_rate", "pool", plots.SERIES_COLOURS[0]),
    plots.Series("gold_win_rate", "gold", plots.SERIES_COLOURS[2], plots.DASHES[2]),
)


def failure_figure(learners: Mapping[str, pd.DataFrame]) -> Figure:
    """Win rates by proxy, pool and gold on the same answers, one panel per learner.

    `learners`: by title, frames of `farm.evaluation.failure.policy_failure` or the `doublings` of
    `best_of_n_failure`. From proxy to pool it is the reward model's error, from pool to gold the
    annotators' bias, each beyond what it is at the start.
    """
    with mpl.rc_context(plots.STYLE):
        figure, panels = plots.panels(len(learners))
        for axes, (title, curve) in zip(panels, learners.items(), strict=True):
            for judge in JUDGES:
                plots.draw(axes, curve, judge, "sqrt_kl")
            plots.chance_line(axes)
            plots.label(axes, title, SQRT_KL)
        panels[0].set_ylabel("Win rate (%)")
        plots.legend(figure, panels[0])
    return figure


def crossed_figure(curves: pd.DataFrame) -> Figure:
    """Who labelled (one line each) crossed with who evaluates (one column of panels each), one row
    of panels per learner.

    `curves`: one row per point with the columns learner, annotators, evaluator, sqrt_kl, value and,
    where there are intervals, value_low and value_high; groups are drawn in the order in which
    they come.
    """
    learners, evaluators, annotators = (
        list(dict.fromkeys(curves[name])) for name in ("learner", "evaluator", "annotators")
    )
    with mpl.rc_context(plots.STYLE):
        figure = Figure(
            figsize=(plots.WIDTH_IN * len(evaluators) * 0.8, plots.HEIGHT_IN * len(learners)),
            layout="constrained",
        )
        # Learners go different ways: each row has its own x axis. Evaluators have their own units.
        grid = figure.subplots(
            len(learners), len(evaluators), squeeze=False, sharex="row", sharey="col"
        )
        for axes, (learner, evaluator) in zip(
            grid.ravel(), product(learners, evaluators), strict=True
        ):
            chosen = (curves["learner"] == learner) & (curves["evaluator"] == evaluator)
            _draw_lines(axes, curves[chosen], annotators)
            axes.set_title(evaluator if learner == learners[0] else "")
            axes.set_xlabel(SQRT_KL)
        for axes, learner in zip(grid[:, 0], learners, strict=True):
            axes.set_ylabel(learner)
        plots.legend(figure, grid[-1, 0])
    return figure


def _draw_lines(axes: Axes, curves: pd.DataFrame, annotators: list[str]) -> None:
    for place, name in enumerate(annotators):
        series = plots.Series("value", name, *plots.look(place))
        plots.draw(axes, curves[curves["annotators"] == name], series, "sqrt_kl")
