"""Length control on simulated judges whose quality, difficulty and length effects are known.

    PYTHONPATH=tests python tests/benchmarks/simulate_length_control.py [--repetitions 500]

Prints, per judge: the quality-only win rate, the root mean squared error of the raw and of the
controlled rate, the latter over the Cramér-Rao bound, and how often the 95 % interval covers the
truth; how often an A/A comparison is rejected; and what a truncation attack gains with and without
the gamed baseline. 805 instructions per repetition, newly drawn.
"""

import argparse

import numpy as np
from length_judges import Judge, beta, coin, four_votes, truncation_attack

from farm.evaluation import length_controlled_win_rate
from farm.seeds import generator

INSTRUCTIONS = 805
VOTES = {coin: 1, four_votes: 4}
JUDGES = {
    f"{name}, {labels.__name__}": Judge(theta, phi, psi, longer_by, labels)
    for name, (theta, phi, psi, longer_by) in {
        "good, longer": (0.5, -1.7, 0.0, 400),
        "good, longer, difficulty": (0.5, -1.7, 0.8, 400),
        "poor, shorter, difficulty": (-2.5, -1.7, 1.0, -500),
    }.items()
    for labels in (coin, four_votes, beta)
}


def study(name: str, judge: Judge, repetitions: int) -> str:
    """One row of the table."""
    truth = judge.truth()
    raw, controlled, covered = np.zeros((3, repetitions))
    for number in range(repetitions):
        frame, gamma = judge.draw(INSTRUCTIONS, generator(0, "length control", name, number))
        found = length_controlled_win_rate(frame, difficulty=gamma if judge.psi else None)
        raw[number] = 100 * frame["preference"].mean() - truth
        controlled[number] = found.value - truth
        covered[number] = found.low <= truth <= found.high
    error = np.sqrt(np.mean(controlled**2))
    ratio = "-"
    if judge.labels in VOTES:
        bound = judge.bound(INSTRUCTIONS, VOTES[judge.labels], generator(0, "bound", name))
        ratio = f"{error / bound:.2f}"
    return (
        f"| {name} | {truth:.1f} | {np.sqrt(np.mean(raw**2)):.2f} | {error:.2f} | {ratio} "
        f"| {controlled.mean():+.2f} | {100 * covered.mean():.1f} |"
    )


def rejections(repetitions: int, psi: float) -> float:
    """Percent of A/A comparisons whose interval leaves 50 out."""
    judge = Judge(0.0, -1.7, psi, 0.0, coin)
    rejected = 0
    for number in range(repetitions):
        frame, gamma = judge.draw(INSTRUCTIONS, generator(0, "A/A", str(psi), number))
        found = length_controlled_win_rate(frame, difficulty=gamma if psi else None)
        rejected += not found.low <= 50 <= found.high
    return 100 * rejected / repetitions


def attack(repetitions: int) -> str:
    """Mean rates of the baseline's own answers, cut."""
    rates = []
    for number in range(repetitions):
        frame, gamed, truth = truncation_attack(INSTRUCTIONS, generator(0, "attack", number))
        plain = length_controlled_win_rate(frame).value
        tied = length_controlled_win_rate(frame, gamed=gamed).value
        rates.append([truth, 100 * frame["preference"].mean(), plain, tied])
    truth, raw, plain, tied = np.mean(rates, axis=0)
    return (
        f"truncation attack: quality alone {truth:.1f}, raw {raw:.1f}, controlled {plain:.1f}, "
        f"with the gamed baseline {tied:.1f}"
    )


def main() -> None:
    """Print the study."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repetitions", type=int, default=500)
    repetitions = parser.parse_args().repetitions
    print("| judge | truth | RMSE raw | RMSE controlled | over the bound | bias | coverage % |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, judge in JUDGES.items():
        print(study(name, judge, repetitions), flush=True)
    for psi in (0.0, 0.8):
        share = rejections(10 * repetitions, psi)
        print(f"A/A comparisons rejected, psi {psi}: {share:.2f} % of {10 * repetitions}")
    print(attack(repetitions))


if __name__ == "__main__":
    main()
