import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from farm.reporting.overoptimization_figure import crossed_figure, failure_figure

D = np.linspace(0, 3, 7)


def failure(proxy: float, gold: float) -> pd.DataFrame:
    rates = {"proxy": 50 + proxy * D, "pool": 50 + 5 * D, "gold": 50 + gold * D}
    ends = {"": 0, "_low": -3, "_high": 3}
    return pd.DataFrame(
        {"sqrt_kl": D}
        | {f"{name}_win_rate{end}": rates[name] + by for name in rates for end, by in ends.items()}
    )


def lines(axes: Axes) -> dict[str, np.ndarray]:
    drawn = (line for line in axes.get_lines() if not str(line.get_label()).startswith("_"))
    return {str(line.get_label()): line.get_xydata() for line in drawn}  # type: ignore[misc]


def test_every_learner_has_its_panel_with_all_judges_over_sqrt_kl() -> None:
    learners = {"Best-of-n": failure(10, 3), "PPO": failure(15, -5)}
    left, right = failure_figure(learners).axes
    assert [axes.get_title(loc="left") for axes in (left, right)] == list(learners)
    assert set(lines(left)) == {"proxy", "pool", "gold"}
    np.testing.assert_allclose(lines(right)["gold"], np.stack([D, 50 - 5 * D], axis=1))
    assert left.get_ylim() == right.get_ylim(), "one scale, so that learners compare"


def test_learners_cross_with_evaluators_and_every_panel_has_every_annotator() -> None:
    labels = [(x, e, a) for x in ("best-of-n", "ppo") for e in ("pool", "gold") for a in ("n", "f")]
    rows = [
        pd.DataFrame({"learner": x, "evaluator": e, "annotators": a, "sqrt_kl": D, "value": i * D})
        for i, (x, e, a) in enumerate(labels)
    ]
    panels = crossed_figure(pd.concat(rows)).axes
    assert [axes.get_title(loc="left") or axes.get_title() for axes in panels[:2]] == [
        "pool",
        "gold",
    ]
    assert [panels[0].get_ylabel(), panels[2].get_ylabel()] == ["best-of-n", "ppo"]
    for i, axes in enumerate(panels):
        np.testing.assert_allclose(lines(axes)["f"][:, 1], (2 * i + 1) * D)
