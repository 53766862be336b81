"""What a study of speculative sampling says: means over seeds, and gains over the baseline."""

from typing import TYPE_CHECKING

import pandas as pd

from farm.evaluation.comparisons import LEVEL, holm
from farm.evaluation.speculation import excess, rates, speedup
from farm.studies.over_seeds import over_seeds
from farm.studies.speculation_study import SpeculationStudy

if TYPE_CHECKING:
    from farm.studies.speculation_job import Measured

ORACLE = "oracle"


def speculation_tables(measured: "Measured", study: SpeculationStudy) -> dict[str, pd.DataFrame]:
    """`points`, one row per rule and `value`: discard_rate, verification_rate and `excess` (of the
    discard rate over the baseline's at the same verification rate); `frontier`, one per rule: the
    mean of the excess over its values; `speedups`, one per rule and
    cost `ratio`, and `gains` over the baseline; `estimates`, one row per rule that estimates
    acceptance; `bins`, their reliability; `times`, seconds per rule and value; `law`, one row. All
    but the last are means over seeds with their intervals."""
    settings = _with_oracle(measured.settings, study.baseline)
    settings = settings.join(rates(settings))
    baselines = dict(list(settings[settings["rule"] == study.baseline].groupby("seed")))
    settings["excess"] = pd.concat(
        pd.Series(excess(rows, baselines[seed]), rows.index)
        for seed, rows in settings.groupby("seed")
    )
    chosen = pd.concat(_chosen(settings, ratio) for ratio in study.cost_ratios)
    lax = measured.settings.groupby(["seed", "rule"], sort=False).tail(1).dropna(subset="auroc")
    times = measured.settings.assign(
        measured_speedup=measured.settings["plain_wall_s"] / measured.settings["wall_s"]
    )
    points = ["discard_rate", "verification_rate", "excess"]
    frontier = settings.groupby(["seed", "rule"], sort=False)["excess"].mean().reset_index()
    estimated = ["auroc", "calibration_error", "brier"]
    bins = measured.bins[measured.bins["rule"].isin(lax["rule"])]
    return {
        "points": over_seeds(settings, ["rule", "value"], points),
        "frontier": over_seeds(frontier, ["rule"], ["excess"]),
        "speedups": over_seeds(chosen, ["rule", "ratio"], ["speedup"]),
        "gains": over_seeds(_gains(chosen, study.baseline), ["rule", "ratio"], ["gain"]),
        "estimates": over_seeds(lax, ["rule"], estimated),
        "bins": bins.groupby(["rule", "bin"]).apply(_pooled).reset_index(),
        "times": over_seeds(times, ["rule", "value"], ["wall_s", "measured_speedup"]),
        "law": _law(measured.settings),
    }


def _with_oracle(settings: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """And what would be discarded by one who stops at once when a token is to be rejected, and else
    goes on: rounds of the baseline, each cut behind its first rejection. What lies behind it has no
    part in any answer, so that answers and passes are the same."""
    rows = settings[settings["rule"] == baseline]
    cut = rows["drafted"] - rows["discarded"] + rows["rejected"]
    oracle = rows.assign(rule=ORACLE, drafted=cut, discarded=rows["rejected"])
    return pd.concat([settings, oracle], ignore_index=True)


def _chosen(settings: pd.DataFrame, ratio: float) -> pd.DataFrame:
    """Each rule's speed-up on each seed, at the value that is best on the other seeds; of a single
    seed, on it."""
    found = []
    for rule, rows in settings.assign(speedup=speedup(settings, ratio)).groupby("rule", sort=False):
        by_value = rows.pivot(index="seed", columns="value", values="speedup")
        for seed in by_value.index:
            others = by_value.drop(index=seed) if len(by_value) > 1 else by_value
            value = others.mean().idxmax()
            of = {"seed": seed, "rule": rule, "ratio": ratio, "value": value}
            found.append({**of, "speedup": by_value.loc[seed, value]})
    return pd.DataFrame(found)


def _gains(chosen: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Percent by which every other rule is faster than the baseline on the same seed."""
    index = ["seed", "ratio"]
    theirs = chosen[chosen["rule"] == baseline].set_index(index)["speedup"]
    others = chosen[chosen["rule"] != baseline].set_index(index)
    gain = 100 * (others["speedup"] / theirs.reindex(others.index) - 1)
    return others.assign(gain=gain).reset_index()


def _pooled(rows: pd.DataFrame) -> pd.Series:
    """One bin over all seeds, each token counting once."""
    weights = rows["tokens"] / rows["tokens"].sum()
    means = rows[["estimate", "accepted"]].mul(weights, axis="index").sum()
    means["tokens"] = rows["tokens"].sum()
    return means


def _law(settings: pd.DataFrame) -> pd.DataFrame:
    """Whether any way of decoding has another law than plain sampling: chi-square `tests`, how many
    have p below 5 % as they are (`below`; by chance about one in twenty) and after Holm
    (`rejected`). Tests of a seed share their plain answers and their random numbers, so that they
    err together."""
    p_values = settings["p_value"].dropna().to_numpy()
    below, rejected = int((p_values < LEVEL).sum()), int((holm(p_values) < LEVEL).sum())
    return pd.DataFrame([{"tests": len(p_values), "below": below, "rejected": rejected}])
