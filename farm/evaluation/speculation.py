"""What speculative sampling takes, and how well acceptance is foreseen; functions of arrays.

N answer tokens took N_draft tokens of the draft and N_target passes of the policy; N_discard of the
draft's tokens were in vain. N_draft = N + N_discard - N_target, but for one more where an answer
ends with a token of the draft (SpecDec++, arXiv 2405.19715, measures the same three).
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from farm.protocols import FloatArray

if TYPE_CHECKING:
    import pandas as pd

BINS = 10
_RARE = 10
"""Tokens that occur less often in pairs of different ones are counted as one."""


def rates(counts: "pd.DataFrame") -> "pd.DataFrame":
    """Of the columns generated, discarded and verified: `discard_rate` = N_discard / N and
    `verification_rate` = N_target / N."""
    per_token = counts[["discarded", "verified"]].div(counts["generated"], axis="index")
    return per_token.set_axis(["discard_rate", "verification_rate"], axis="columns")


def speedup(counts: "pd.DataFrame", ratio: float) -> "pd.Series[float]":
    """Time of plain sampling over that of speculative, if all time goes to models and a pass of the
    policy, over however many tokens, takes as long as `ratio` tokens of the draft."""
    found: pd.Series[float] = (
        ratio * counts["generated"] / (counts["drafted"] + ratio * counts["verified"])
    )
    return found


def excess(points: "pd.DataFrame", baseline: "pd.DataFrame") -> FloatArray:
    """By how much the discard rate of each point lies above the baseline's at the same verification
    rate, linearly between its points; NaN beyond them."""
    known = baseline.sort_values("verification_rate")
    theirs = np.interp(
        points["verification_rate"], known["verification_rate"], known["discard_rate"],
        left=np.nan, right=np.nan,
    )  # fmt: skip
    above: FloatArray = points["discard_rate"].to_numpy() - theirs
    return above


def auroc(estimates_N: FloatArray, accepted_N: NDArray[np.bool_]) -> float:
    """P(an accepted token has a higher estimate than a rejected one), ties half; NaN where there
    is only one kind."""
    from scipy.stats import rankdata

    accepted = int(accepted_N.sum())
    rejected = len(accepted_N) - accepted
    if not accepted or not rejected:
        return float("nan")
    ranks = rankdata(estimates_N)[accepted_N].sum()
    return float((ranks - accepted * (accepted + 1) / 2) / (accepted * rejected))


def reliability(
    estimates_N: FloatArray, accepted_N: NDArray[np.bool_], bins: int = BINS
) -> "pd.DataFrame":
    """One row per bin of estimates, of equal widths, that is not empty: `bin`, `tokens`, and the
    means `estimate` and `accepted`."""
    import pandas as pd

    bin_N = np.minimum((estimates_N * bins).astype(int), bins - 1)
    frame = pd.DataFrame({"bin": bin_N, "estimate": estimates_N, "accepted": accepted_N})
    groups = frame.astype({"accepted": float}).groupby("bin")
    found: pd.DataFrame = groups.mean().assign(tokens=groups.size()).reset_index()
    return found


def calibration_error(bins: "pd.DataFrame") -> float:
    """Expected calibration error: the mean distance of estimate and acceptance over tokens, bin by
    bin of `reliability`; NaN without any."""
    if bins.empty:
        return float("nan")
    distance = (bins["estimate"] - bins["accepted"]).abs()
    return float(np.average(distance, weights=bins["tokens"]))


def same_law(one_N: NDArray[np.int64], other_N: NDArray[np.int64]) -> float:
    """p-value of the hypothesis that the two tokens that were drawn for each of N prompts, apart
    from each other, come from one law, whatever it is for other prompts; NaN where they are always
    the same.

    The chi-square test of marginal homogeneity (Stuart 1955, Biometrika 42, 412; Maxwell 1970). A
    test of two unpaired samples would take how much prompts differ for noise, and never reject.
    """
    from scipy.stats import chi2

    tokens, index = np.unique(np.concatenate([one_N, other_N]), return_inverse=True)
    pairs_2_N = index.reshape(2, -1)
    apart_2_N = pairs_2_N[:, pairs_2_N[0] != pairs_2_N[1]]  # equal ones say nothing about it
    rare_V = np.bincount(apart_2_N.ravel(), minlength=len(tokens)) < _RARE
    place_V = np.where(rare_V, 0, np.cumsum(~rare_V))
    table_V_V = np.zeros((place_V.max() + 1,) * 2)
    np.add.at(table_V_V, tuple(place_V[apart_2_N]), 1)
    np.fill_diagonal(table_V_V, 0)  # two rare ones
    difference_V = table_V_V.sum(1) - table_V_V.sum(0)
    both_V_V = table_V_V + table_V_V.T
    covariance_V_V = np.diag(both_V_V.sum(1)) - both_V_V
    freedom = int(np.linalg.matrix_rank(covariance_V_V))
    if freedom == 0:
        return float("nan")
    statistic = difference_V @ np.linalg.pinv(covariance_V_V) @ difference_V
    return float(chi2.sf(statistic, freedom))
