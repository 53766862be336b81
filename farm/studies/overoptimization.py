"""What a study says about over-optimisation: by whose labels, seen by whom.

`checkpoints` has the rows of farm.stages.crossing for every seed, annotators and step of the
followed method, and for each other seed's reward model a column `rival SEED` of its scores;
`samples` the rows of many answers of the start. Curves are per seed; tables of seeds' means say so.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from farm.errors import DataError
from farm.evaluation.alarms import (
    Rule,
    divergence_alarm,
    ensemble_spread,
    length_alarm,
    never,
    regret_table,
    spread_alarm,
)
from farm.evaluation.best_of_n import best_of_n, best_of_n_curve, doublings, kl_estimate
from farm.evaluation.failure import best_of_n_regret, policy_failure
from farm.evaluation.overoptimization import overoptimization
from farm.evaluation.scaling_law import BEST_OF_N, REINFORCEMENT, Fit, fit_law
from farm.protocols import FloatArray
from farm.stages.crossing import JUDGED
from farm.studies.over_seeds import over_seeds

if TYPE_CHECKING:
    import pandas as pd

RIVAL = "rival "
"""Before a seed, the name of the column of its reward model's scores."""

HELD_OUT = "held out"

TO_THE_END = "train to the end"

RULES: Mapping[str, tuple[Rule, str]] = {
    "reward models disagree": (spread_alarm, "ensemble_spread"),
    "held-out judges fall": (divergence_alarm, "held_out_win_rate"),
    "length drifts": (length_alarm, "mean_length"),
    TO_THE_END: (never, "gold_utility"),
}
"""With the column of a curve that each reads."""

PROXY, UTILITY = "proxy reward", "gold utility"
"""Beside the evaluators, what a learner is followed by."""

Runs = Iterator[tuple[dict[str, Any], "pd.DataFrame"]]


def runs_of(frame: "pd.DataFrame") -> Runs:
    """The rows of every seed and annotators, with what they are of."""
    for of, rows in frame.groupby(["annotators", "seed"], sort=False):
        yield dict(zip(("annotators", "seed"), of, strict=True)), rows


def policy_curves(checkpoints: "pd.DataFrame") -> "pd.DataFrame":
    """One row per seed, annotators and step: kl_to_start (nats), proxy_reward, gold_utility,
    mean_length (characters), ensemble_spread, and every evaluator's win rate in percent, gold's
    among them; NaN where a column does not apply."""
    import pandas as pd

    return pd.concat([_policy_curve(rows).assign(**of) for of, rows in runs_of(checkpoints)])


def _policy_curve(rows: "pd.DataFrame") -> "pd.DataFrame":
    judged = _columns(rows, JUDGED)
    means = rows.groupby("step")[["kl", "proxy", "gold", "length", *judged]].mean()
    curve = means.rename(
        columns={
            "kl": "kl_to_start",
            "proxy": "proxy_reward",
            "gold": "gold_utility",
            "length": "mean_length",
        }
    )
    curve[judged] *= 100
    wins = rows.assign(wins=50 * (1 + np.sign(rows["gold"] - rows["gold_reference"])))
    curve[f"{JUDGED}gold"] = wins.groupby("step")["wins"].mean()
    curve["ensemble_spread"] = _spread(rows)
    return curve.reset_index()


def _spread(rows: "pd.DataFrame") -> FloatArray:
    rivals = [name for name in _columns(rows, RIVAL) if rows[name].notna().all()]
    scorers = ["proxy", *rivals]
    tables = [_table(rows, name) for name in scorers]
    if len(tables) == 1:
        return np.full(len(tables[0]), np.nan)
    return ensemble_spread(np.stack(tables))


def _columns(rows: "pd.DataFrame", prefix: str) -> list[str]:
    return [str(name) for name in rows.columns if str(name).startswith(prefix)]


def _table(rows: "pd.DataFrame", column: str) -> FloatArray:
    """Steps by instructions."""
    wide = rows.pivot(index="step", columns="instruction_id", values=column).sort_index()
    return wide.to_numpy(dtype=np.float64)


def turning_points(checkpoints: "pd.DataFrame") -> "pd.DataFrame":
    """Whether gold utility turns over, for every seed and annotators: peak_step, gold_drop (peak
    minus end, chosen on other instructions) with its interval, turns_over, and what the proxy
    gained after the peak."""
    import pandas as pd

    return pd.DataFrame([_turning(of, rows) for of, rows in runs_of(checkpoints)])


def _turning(of: dict[str, Any], rows: "pd.DataFrame") -> dict[str, Any]:
    turn = overoptimization(rows, seed=int(of["seed"]))
    return {
        **of,
        "peak_step": turn.peak_step,
        "peak_step_low": turn.peak.low,
        "peak_step_high": turn.peak.high,
        "gold_drop": turn.gold_drop.estimate,
        "gold_drop_low": turn.gold_drop.low,
        "gold_drop_high": turn.gold_drop.high,
        "turns_over": turn.turns_over,
        "proxy_rise_after_peak": turn.proxy_rise_after_peak.estimate,
    }


def failures(checkpoints: "pd.DataFrame") -> "pd.DataFrame":
    """Where the gain of the proxy went, per seed, annotators and step (farm.evaluation.failure);
    the pool is the annotators' own judge."""
    import pandas as pd

    return pd.concat(
        [
            policy_failure(_with_own_judge(of, rows), seed=int(of["seed"])).assign(**of)
            for of, rows in runs_of(checkpoints)
        ]
    )


def _with_own_judge(of: dict[str, Any], rows: "pd.DataFrame") -> "pd.DataFrame":
    return rows.assign(expectation=rows[f"{JUDGED}{of['annotators']}"])


def best_of_n_curves(samples: "pd.DataFrame") -> "pd.DataFrame":
    """One row per seed, annotators and n = 1, 2, 4, ...: KL (bound and estimate), proxy, gold and
    every evaluator's win rate in percent; with the gold utility that the judge and gold itself
    would have chosen (gold_by_pool, gold_by_gold)."""
    import pandas as pd

    return pd.concat([_best_of_n(of, rows) for of, rows in runs_of(samples)])


def _best_of_n(of: dict[str, Any], rows: "pd.DataFrame") -> "pd.DataFrame":
    judged = _columns(rows, JUDGED)
    measures = {name: 100 * _by_sample(rows, name) for name in judged}
    measures |= {"gold": _by_sample(rows, "gold"), "proxy": _by_sample(rows, "proxy")}
    wins = np.sign(_by_sample(rows, "gold") - _by_sample(rows, "gold_reference"))
    measures[f"{JUDGED}gold"] = 50 * (1 + wins)
    seed = int(of["seed"])
    curve = best_of_n_curve(_by_sample(rows, "proxy"), measures, seed=seed)
    regret = best_of_n_regret(_with_own_judge(of, rows), seed=seed)
    chosen = ["gold_by_gold", "gold_by_pool", "gold_by_proxy"]
    return doublings(curve.merge(regret[["n", *chosen]], on="n")).assign(**of)


def _by_sample(rows: "pd.DataFrame", column: str) -> FloatArray:
    """Instructions by samples."""
    wide = rows.pivot(index="instruction_id", columns="sample", values=column).sort_index(axis=1)
    return wide.to_numpy(dtype=np.float64)


def followed(curves: "pd.DataFrame", best_of_n: "pd.DataFrame", learner: str) -> "pd.DataFrame":
    """Both curves as everything that measures them sees them, one row per learner (this one, then
    best-of-n), annotators, evaluator and point (step or n): sqrt_kl, and value in percent, or in
    its own unit by the proxy and by gold utility. Means over seeds with their intervals."""
    import pandas as pd

    judged = _columns(curves, JUDGED)
    long = [
        _long(curves.rename(columns=_STEPS), judged).assign(learner=learner),
        _long(best_of_n.rename(columns=_SIZES), judged).assign(learner="best-of-n"),
    ]
    of = ["learner", "annotators", "evaluator", "point"]
    return over_seeds(pd.concat(long), of, ["sqrt_kl", "value"])


_STEPS = {"step": "point", "kl_to_start": "kl", "proxy_reward": PROXY, "gold_utility": UTILITY}
_SIZES = {"n": "point", "kl_estimate": "kl", "proxy": PROXY, "gold": UTILITY}


def _long(curve: "pd.DataFrame", judged: list[str]) -> "pd.DataFrame":
    of = ["annotators", "seed", "point", "sqrt_kl"]
    shown = curve.assign(sqrt_kl=np.sqrt(curve["kl"].clip(lower=0)))
    long = shown.melt(of, [PROXY, *judged, UTILITY], var_name="evaluator")
    return long.assign(evaluator=long["evaluator"].str.removeprefix(JUDGED))


def laws(checkpoints: "pd.DataFrame", samples: "pd.DataFrame") -> "pd.DataFrame":
    """The laws of Gao et al. 2022 fitted to gold utility, per seed and annotators; a curve of
    fewer points than a law needs has none."""
    import pandas as pd

    fitted = []
    for fit, frame in ((_policy_law, checkpoints), (_best_of_n_law, samples)):
        for of, rows in runs_of(frame):
            with suppress(DataError):  # too few points
                fitted.append(_fitted(of, fit(of, rows)))
    return pd.DataFrame(fitted)


def _policy_law(of: dict[str, Any], rows: "pd.DataFrame") -> Fit:
    kl = rows.groupby("step")["kl"].mean().to_numpy()
    return fit_law(REINFORCEMENT, kl, _table(rows, "gold"), seed=int(of["seed"]))


def _best_of_n_law(of: dict[str, Any], rows: "pd.DataFrame") -> Fit:
    proxy_I_N = _by_sample(rows, "proxy")
    gold_N_I = best_of_n(proxy_I_N, _by_sample(rows, "gold"))
    return fit_law(BEST_OF_N, kl_estimate(proxy_I_N).mean(axis=1), gold_N_I, seed=int(of["seed"]))


def _fitted(of: dict[str, Any], fit: Fit) -> dict[str, Any]:
    row = {**of, "law": fit.law.name}
    for name in ("alpha", "beta", "peak"):
        row |= dict(zip((name, f"{name}_low", f"{name}_high"), getattr(fit, name), strict=True))
    return {**row, "r_squared": fit.r_squared}


def alarm_table(curves: "pd.DataFrame", *, seed: int) -> "pd.DataFrame":
    """What every rule costs against truth, over the curves of all seeds, by annotators. A rule that
    reads what the study has not measured (other seeds' reward models, judges held out) is left
    out."""
    import pandas as pd

    tables = []
    for annotators, of_annotators in curves.groupby("annotators", sort=False):
        shown = of_annotators.assign(held_out_win_rate=of_annotators.get(f"{JUDGED}{HELD_OUT}"))
        runs = [run.reset_index(drop=True) for _, run in shown.groupby("seed")]
        rules = {
            name: rule
            for name, (rule, column) in RULES.items()
            if all(run[column].notna().any() for run in runs)
        }
        tables.append(regret_table(runs, rules, seed=seed).assign(annotators=annotators))
    return pd.concat(tables, ignore_index=True)
