"""Best-of-n for every n up to N from one set of N samples per instruction.

Arrays [I, N] hold one number for each of N independent samples on each of I instructions;
curves [N, I] have n = 1, ..., N along the first axis. Of samples with equal proxy scores each is
as likely to be chosen.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from farm.errors import DataError
from farm.evaluation.bands import band, columns
from farm.evaluation.intervals import ratio
from farm.protocols import FloatArray

if TYPE_CHECKING:
    import pandas as pd


def best_of_n_curve(
    proxy_I_N: FloatArray, measures: Mapping[str, FloatArray], *, seed: int
) -> "pd.DataFrame":
    """What the answer with the highest proxy of n is worth by every measure [I, N].

    One row per n with the columns n, kl_upper_bound and kl_estimate (nats, mean over
    instructions), and for each measure its mean over instructions, `<measure>_low` and
    `<measure>_high` (95 %, resampling instructions together with their samples) and
    `<measure>_known`, the percentage of chosen answers that have a value at all.
    """
    import pandas as pd

    ranking = _rank(proxy_I_N)
    sizes = np.arange(1, proxy_I_N.shape[1] + 1)
    frame = {
        "n": sizes,
        "kl_upper_bound": kl_upper_bound(sizes),
        "kl_estimate": kl_estimate(proxy_I_N).mean(axis=1),
    }
    for name, values_I_N in measures.items():
        frame |= columns({name: band(_expected(ranking, values_I_N), seed=seed)})
        known_I_N = (~np.isnan(values_I_N)).astype(np.float64)
        frame[f"{name}_known"] = 100 * _expected(ranking, known_I_N).mean(axis=1)
    return pd.DataFrame(frame)


def doublings(curve: "pd.DataFrame") -> "pd.DataFrame":
    """The rows with n = 1, 2, 4, ..., which is what a table or a figure shows."""
    doubled: pd.DataFrame = curve[(curve["n"] & (curve["n"] - 1)) == 0]
    return doubled


def best_of_n(proxy_I_N: FloatArray, values_I_N: FloatArray) -> FloatArray:
    """E[value of the sample with the highest proxy of n] for every n on every instruction; [N, I].

    Unbiased: the mean over all subsets of n of the N samples (Nakano et al. 2021,
    arXiv 2112.09332), given that the chosen sample has a value where values are NaN; NaN where no
    sample that can be chosen has one. Raises `DataError` for a missing proxy.
    """
    return _expected(_rank(proxy_I_N), values_I_N)


def selection_weights(count: int) -> FloatArray:
    """P(the k-th lowest of `count` samples is the highest of n of them), [n, k] from 1 to `count`.

    C(k-1, n-1) / C(count, n), which is n/k times C(k, n) / C(count, n), a product of n factors.
    """
    k = np.arange(1, count + 1)
    n = k[:, None]
    below_n_k = np.cumprod(np.maximum(k - n + 1, 0) / (count - n + 1), axis=0)
    weights: FloatArray = below_n_k * n / k
    return weights


def kl_upper_bound(n: NDArray[np.int64]) -> FloatArray:
    """log n - (n-1)/n: an upper bound on KL(best-of-n || start) in nats, exact only where no two
    samples can be equal (Beirami et al. 2024, arXiv 2401.01879)."""
    bound: FloatArray = np.log(n) - (n - 1) / n
    return bound


def kl_estimate(proxy_I_N: FloatArray) -> FloatArray:
    """KL(best-of-n || start) in nats for every n on every instruction, from repeats alone; [N, I].

    Sum over distinct scores of P_n log(P_n / p) with P_n = F^n - F_<^n, where p, F and F_< are the
    empirical shares of samples at, up to and below a score. Texts of one score are chosen in
    proportion to p, so they need not be told apart. It never exceeds the bound, and is low where
    the N samples miss much of what the start can say.
    """
    from scipy.special import rel_entr

    ranking = _rank(proxy_I_N)
    below_I_N, upto_I_N = ranking.shares
    share_I_N = upto_I_N - below_I_N
    count = proxy_I_N.shape[1]
    below_n, upto_n = np.ones_like(below_I_N), np.ones_like(upto_I_N)
    kl_N_I = np.empty(proxy_I_N.shape[::-1])
    for kl_I in kl_N_I:
        below_n *= below_I_N
        upto_n *= upto_I_N
        # Every sample of a score holds its part of that score's term.
        kl_I[:] = (rel_entr(upto_n - below_n, share_I_N) / (count * share_I_N)).sum(axis=1)
    return kl_N_I


def kl_estimate_from_logprobs(proxy_I_N: FloatArray, logprobs_I_N: FloatArray) -> FloatArray:
    """KL(best-of-n || start) in nats for every n on every instruction; [N, I].

    `logprobs_I_N` are the samples' log-probabilities under the start that drew them. The estimator
    of Beirami et al. 2024 (arXiv 2401.01879): for an answer of probability p, the KL if it were
    the best answer there is and the rest were continuous, averaged over what best-of-n chooses. It
    needs no repeats, and is a little high where likely answers lie below the chosen one.
    """
    ranking = _rank(proxy_I_N)
    count = proxy_I_N.shape[1]
    # Beyond these the terms below are 0 or the bound to machine precision.
    p_I_N = np.clip(np.exp(logprobs_I_N), 1e-300, 1 - 1e-15)
    log_rest_I_N = np.log1p(-p_I_N)
    kl_N_I = np.empty(proxy_I_N.shape[::-1])
    for n, (kl_I, weights) in enumerate(zip(kl_N_I, selection_weights(count), strict=True), 1):
        rest = np.exp(n * log_rest_I_N)
        best = -np.expm1(n * log_rest_I_N)
        bound = float(kl_upper_bound(np.array(n)))
        terms = rest * (bound + (n - 1) * log_rest_I_N) + best * np.log(best / p_I_N)
        kl_I[:] = ranking.arrange(terms) @ weights
    return kl_N_I


class _Ranking(NamedTuple):
    """Samples in the order of rising proxy; equal scores form a group."""

    order_I_N: NDArray[np.int64]
    group_I_N: NDArray[np.int64]
    """Of the sample at each rank; no two instructions share a group."""

    def arrange(self, values_I_N: FloatArray) -> FloatArray:
        """The values by rank, each the mean of its group."""
        ranked = np.take_along_axis(values_I_N, self.order_I_N, axis=1)
        sums = np.bincount(self.group_I_N.ravel(), weights=ranked.ravel())
        means: FloatArray = sums / np.bincount(self.group_I_N.ravel())
        return means[self.group_I_N]

    @property
    def shares(self) -> tuple[FloatArray, FloatArray]:
        """Shares of an instruction's samples below each sample's score, and up to it."""
        sizes = np.bincount(self.group_I_N.ravel())
        instructions, count = self.group_I_N.shape
        before_I = np.arange(instructions)[:, None] * count
        upto_I_N = np.cumsum(sizes)[self.group_I_N] - before_I
        return (upto_I_N - sizes[self.group_I_N]) / count, upto_I_N / count


def _rank(proxy_I_N: FloatArray) -> _Ranking:
    missing = int(np.isnan(proxy_I_N).sum())
    if missing:
        raise DataError(
            f"best-of-n needs the proxy's score of every sample; {missing} of {proxy_I_N.size} "
            "are missing. Leave out instructions that the proxy cannot score."
        )
    order = np.argsort(proxy_I_N, axis=1, kind="stable")
    scores = np.take_along_axis(proxy_I_N, order, axis=1)
    rises = np.ones(scores.shape, dtype=bool)
    rises[:, 1:] = scores[:, 1:] != scores[:, :-1]
    return _Ranking(order, np.cumsum(rises).reshape(scores.shape) - 1)


def _expected(ranking: _Ranking, values_I_N: FloatArray) -> FloatArray:
    """[N, I]; a sample without a value takes its weight with it."""
    weights = selection_weights(values_I_N.shape[1])
    known_I_N = ~np.isnan(values_I_N)
    sums_N_I = weights @ ranking.arrange(np.where(known_I_N, values_I_N, 0.0)).T
    return ratio(sums_N_I, weights @ ranking.arrange(known_I_N.astype(np.float64)).T)
