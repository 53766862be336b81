"""Bootstrap of many models' win rates: seconds for 10,000 resamples over 805 instructions x 20
models, beside scipy's `bootstrap` of the same means, which resamples model by model.

    python tests/benchmarks/bench_bootstrap.py [--rounds 5]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from scipy.stats import bootstrap

from farm.evaluation.intervals import crossed_replicates, percentiles, resamples
from farm.protocols import FloatArray
from farm.seeds import generator

REPLICATES, INSTRUCTIONS, MODELS = 10_000, 805, 20


def ours(values_M_N: FloatArray) -> FloatArray:
    """[low, high] of each model's mean, all models on the same resampled instructions."""
    weights_R_N = resamples(INSTRUCTIONS, seed=0, replicates=REPLICATES)
    means_R_M = weights_R_N @ values_M_N.T / INSTRUCTIONS
    found = [percentiles(r, v.mean()) for r, v in zip(means_R_M.T, values_M_N, strict=True)]
    return np.array([[interval.low, interval.high] for interval in found])


def crossed(values_M_N: FloatArray) -> FloatArray:
    """The same over five training seeds, which are resampled too (2,000 times, as studies do)."""
    values_M_S_N = np.repeat(values_M_N[:, None], 5, axis=1)
    found = crossed_replicates(values_M_S_N, seed=0)
    return np.percentile(found.replicates_R_M, [2.5, 97.5], axis=0).T


def scipys(values_M_N: FloatArray) -> FloatArray:
    """[low, high] by scipy."""
    rng = generator(0, "bench_bootstrap", "scipy")
    found = [
        bootstrap((row,), np.mean, n_resamples=REPLICATES, method="percentile", rng=rng, batch=1000)
        for row in values_M_N
    ]
    return np.array([f.confidence_interval for f in found])


def main() -> None:
    """Measure in turns, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    values_M_N = generator(0, "bench_bootstrap").random((MODELS, INSTRUCTIONS))
    sides: dict[str, Callable[[FloatArray], FloatArray]] = {
        "farm": ours,
        "farm, crossed with 5 seeds": crossed,
        "scipy.stats.bootstrap": scipys,
    }
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    found: dict[str, FloatArray] = {}
    for _ in range(rounds):
        for side, work in sides.items():
            began = time.perf_counter()
            found[side] = work(values_M_N)
            seconds[side].append(time.perf_counter() - began)
    apart = np.abs(found["farm"] - found["scipy.stats.bootstrap"]).max()
    print("| side | seconds |")
    print("| --- | ---: |")
    for side, took in seconds.items():
        print(f"| {side} | {statistics.median(took):.2f} |")
    print(f"\nOurs and scipy's bounds differ by at most {100 * apart:.2f} points.")


if __name__ == "__main__":
    main()
