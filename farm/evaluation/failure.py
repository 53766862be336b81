"""Why optimisation fails: reward-model error or annotator bias.

Proxy, pool and gold are asked one question about the same answers: is this answer better than
the reference's? Proxy and gold say so by their scores, the pool by the side its noise-free
preference takes, which is how a perfect reward model of this pool would order the pair. The three
win rates (percent, ties half) share a scale, and what each has gained since the start splits
without remainder:

    gain of the proxy = gain of gold + reward-model error + annotator bias
    reward-model error = gain of the proxy - gain of the pool      (more labels help)
    annotator bias     = gain of the pool - gain of gold           (more labels do not)

Both are measured on the answers this policy gives. A poor reward model leads it to answers on
which pool and gold differ more, so with more labels the second may shrink too;
`best_of_n_regret` has no such entanglement.

All are means over the instructions that all three judges can judge at every point of the curve.
Intervals are 95 % and pointwise, over instructions.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from farm.errors import DataError
from farm.evaluation.bands import band, columns
from farm.evaluation.best_of_n import best_of_n, kl_estimate, kl_upper_bound
from farm.protocols import FloatArray

if TYPE_CHECKING:
    import pandas as pd

_COMPARED = ("proxy", "proxy_reference", "expectation", "gold", "gold_reference")


class Verdicts(NamedTuple):
    """1 where a judge ranks the policy's answer above the reference's, 0 below, 0.5 at a tie, NaN
    without a verdict; [C points of a curve, N instructions], the start first."""

    proxy_C_N: FloatArray
    pool_C_N: FloatArray
    gold_C_N: FloatArray


def policy_failure(items: "pd.DataFrame", *, seed: int) -> "pd.DataFrame":
    """The failure of a policy along its checkpoints; the first step is the start.

    `items`: one row per step and instruction_id with the columns proxy and proxy_reference, gold
    and gold_reference (scores), expectation (the pool's noise-free preference in [0, 1]) and kl
    (nats). Returns step, kl_to_start, sqrt_kl and the columns of `decompose`.
    """
    import pandas as pd

    scores = _tables(items, ("step", "instruction_id"), _COMPARED)
    kl = items.groupby("step")["kl"].mean()
    front = {"step": kl.index, "kl_to_start": kl, "sqrt_kl": np.sqrt(kl.clip(lower=0))}
    failure = decompose(_verdicts(scores), seed=seed)
    return pd.concat([pd.DataFrame(front).reset_index(drop=True), failure], axis=1)


def best_of_n_failure(samples: "pd.DataFrame", *, seed: int) -> "pd.DataFrame":
    """The failure of best-of-n by the proxy for every n; n = 1 is the start.

    `samples`: one row per instruction_id and sample with the columns of `policy_failure` but kl.
    Returns n, kl_upper_bound, kl_estimate, sqrt_kl (of the estimate) and the columns of
    `decompose`.
    """
    import pandas as pd

    scores = _tables(samples, ("instruction_id", "sample"), _COMPARED)
    wins = (best_of_n(scores["proxy"], wins_I_N) for wins_I_N in _verdicts(scores))
    front = _sizes(scores["proxy"])
    return pd.concat([pd.DataFrame(front), decompose(Verdicts(*wins), seed=seed)], axis=1)


def best_of_n_regret(samples: "pd.DataFrame", *, seed: int) -> "pd.DataFrame":
    """The gold utility best-of-n loses by its proxy, from the same samples chosen three ways.

        gold by gold - gold by proxy = annotator bias + reward-model error
        annotator bias     = gold by gold - gold by the pool
        reward-model error = gold by the pool - gold by proxy

    The pool chooses by its noise-free preference over the reference. `samples` as in
    `best_of_n_failure`, with proxy, expectation and gold. Returns n, kl_upper_bound, kl_estimate,
    sqrt_kl, and with `_low` and `_high` gold_by_gold, gold_by_pool, gold_by_proxy,
    reward_model_error and annotator_bias, all in gold utility.
    """
    import pandas as pd

    scores = _tables(samples, ("instruction_id", "sample"), ("proxy", "expectation", "gold"))
    judged_I = _judged(np.stack(list(scores.values())), axes=(0, 2))
    proxy_I_N, pool_I_N, gold_I_N = (values_I_N[judged_I] for values_I_N in scores.values())
    by_gold, by_pool, by_proxy = (
        best_of_n(chooser_I_N, gold_I_N) for chooser_I_N in (gold_I_N, pool_I_N, proxy_I_N)
    )
    shown = {
        "gold_by_gold": by_gold,
        "gold_by_pool": by_pool,
        "gold_by_proxy": by_proxy,
        "reward_model_error": by_pool - by_proxy,
        "annotator_bias": by_gold - by_pool,
    }
    bands = {name: band(values_N_I, seed=seed) for name, values_N_I in shown.items()}
    return pd.DataFrame({**_sizes(proxy_I_N), **columns(bands)})


def decompose(verdicts: Verdicts, *, seed: int) -> "pd.DataFrame":
    """One row per point of the curve, in percent or points of percent.

    Columns, each with `_low` and `_high`: proxy_win_rate, pool_win_rate and gold_win_rate;
    reward_model_error and annotator_bias, as the module defines them. `instructions` counts those
    that all can judge. Raises `DataError` where there are none.
    """
    import pandas as pd

    judged_N = _judged(np.stack(verdicts), axes=(0, 1))
    proxy_C_N, pool_C_N, gold_C_N = (100 * wins_C_N[:, judged_N] for wins_C_N in verdicts)
    shown = {
        "proxy_win_rate": proxy_C_N,
        "pool_win_rate": pool_C_N,
        "gold_win_rate": gold_C_N,
        "reward_model_error": _since_start(proxy_C_N - pool_C_N),
        "annotator_bias": _since_start(pool_C_N - gold_C_N),
    }
    bands = {name: band(values_C_N, seed=seed) for name, values_C_N in shown.items()}
    return pd.DataFrame({**columns(bands), "instructions": int(judged_N.sum())})


def _judged(values: FloatArray, axes: tuple[int, int]) -> NDArray[np.bool_]:
    """Whether an instruction has every value; the other two axes are `axes`."""
    judged: NDArray[np.bool_] = np.asarray(~np.isnan(values).any(axis=axes))
    if not judged.any():
        raise DataError(
            "proxy, pool and gold share no instruction that all can judge at every point of the "
            "curve; the failure needs a reward model, annotators that are programs, and data.gold."
        )
    return judged


def _since_start(values_C_N: FloatArray) -> FloatArray:
    change: FloatArray = values_C_N - values_C_N[0]
    return change


def _verdicts(scores: dict[str, FloatArray]) -> Verdicts:
    return Verdicts(
        _wins(scores["proxy"] - scores["proxy_reference"]),
        _wins(scores["expectation"] - 0.5),
        _wins(scores["gold"] - scores["gold_reference"]),
    )


def _wins(advantage: FloatArray) -> FloatArray:
    wins: FloatArray = (np.sign(advantage) + 1) / 2
    return wins


def _sizes(proxy_I_N: FloatArray) -> dict[str, FloatArray]:
    """How far best-of-n is from the start, for every n."""
    n = np.arange(1, proxy_I_N.shape[1] + 1)
    kl = kl_estimate(proxy_I_N).mean(axis=1)
    return {
        "n": n,
        "kl_upper_bound": kl_upper_bound(n),
        "kl_estimate": kl,
        "sqrt_kl": np.sqrt(kl),
    }


def _tables(
    rows: "pd.DataFrame", axes: tuple[str, str], names: tuple[str, ...]
) -> dict[str, FloatArray]:
    """Columns as tables over the two axes, sorted, NaN where a row is missing."""
    lacking = sorted({*names, *axes} - set(rows.columns))
    if lacking:
        raise DataError(f"the failure of a policy needs the columns {', '.join(lacking)}")
    index, across = axes
    wide = rows.pivot(index=index, columns=across, values=list(names)).sort_index()
    return {name: wide[name].sort_index(axis=1).to_numpy(dtype=np.float64) for name in names}
