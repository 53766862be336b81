"""Length-controlled win rates of 27 published models: ours and alpaca_eval 0.6.6 in one run.

    make bench-peers && python tests/benchmarks/bench_length_control.py [--rounds 3]

Reads ../shared/data/alpaca_eval2 (or FARM_SHARED_DATA). Prints how far our figures are from the
peer's and from the published ones, the seconds of one fit of each, and Spearman's correlation with
the Chatbot Arena for raw and controlled rates.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from farm.evaluation import length_controlled_win_rate
from farm.evaluation.difficulty import estimate_difficulty, leave_one_out_difficulty
from farm.evaluation.length_control import LengthWeights, predict_win_rate
from farm.evaluation.mediators import Method

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PEER = ROOT / ".peers" / "alpaca_eval" / "bin" / "python"
SHARED = Path(os.environ.get("FARM_SHARED_DATA", ROOT.parent / "shared" / "data")) / "alpaca_eval2"
METHODS: tuple[Method, ...] = ("newton", "alpaca_eval")
VARIANTS = ("length_controlled_noreg", "length_controlled_minimal")

Rates = dict[str, float]


def read_frames() -> dict[str, pd.DataFrame]:
    """Verdicts by model, preferences in [0, 1]."""
    annotations = pd.read_parquet(SHARED / "annotations.parquet")
    annotations["preference"] = annotations["preference"].replace({0.0: 1.5}) - 1
    return dict(list(annotations.groupby("model", sort=False)))


def ours(
    frames: Mapping[str, pd.DataFrame], difficulty: "pd.Series[float] | None", method: Method
) -> tuple[Rates, float]:
    """Rates by model, and the median seconds of one call."""
    rates, seconds = {}, []
    for model, frame in frames.items():
        started = time.perf_counter()
        rates[model] = length_controlled_win_rate(frame, difficulty=difficulty, method=method).value
        seconds.append(time.perf_counter() - started)
    return rates, statistics.median(seconds)


def peer(variant: str) -> tuple[Rates, float]:
    """The same of alpaca_eval."""
    done = subprocess.run(
        [PEER, HERE / "length_control_peer.py", SHARED / "annotations.parquet",
         SHARED / "difficulty_estimate.csv", variant],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    seconds = statistics.median(row["seconds"] for row in rows)
    return {row["model"]: row["value"] for row in rows}, seconds


def distance(rates: Rates, others: Mapping[str, float]) -> str:
    """Mean and largest absolute difference, in points."""
    differences = [abs(rate - others[model]) for model, rate in rates.items()]
    return f"mean {statistics.mean(differences):.1e}, largest {max(differences):.1e}"


def compare(frames: Mapping[str, pd.DataFrame], gamma: "pd.Series[float]", rounds: int) -> None:
    """Against the peer, sides in turns."""
    for variant, difficulty in zip(VARIANTS, (gamma, None), strict=True):
        found = [
            (peer(variant), *(ours(frames, difficulty, method) for method in METHODS))
            for _ in range(rounds)
        ]
        (expected, _), *by_method = found[0]
        peer_s, *ours_s = (
            statistics.median(s for _, s in side) for side in zip(*found, strict=True)
        )
        print(f"{variant}: alpaca_eval {1000 * peer_s:.0f} ms a fit")
        for method, (rates, _), seconds in zip(METHODS, by_method, ours_s, strict=True):
            print(
                f"  {method}: {1000 * seconds:.2f} ms, {peer_s / seconds:.1f} times as fast; "
                f"points from alpaca_eval: {distance(rates, expected)}"
            )


def against_published(frames: Mapping[str, pd.DataFrame], gamma: "pd.Series[float]") -> None:
    """Distances from the published figures, by where the difficulty comes from."""
    board = pd.read_csv(SHARED / "leaderboard.csv", index_col=0)["length_controlled_winrate"]
    weights = pd.read_csv(SHARED / "glm_weights.csv", index_col=0)
    joint = estimate_difficulty(pd.concat(frames.values())).difficulty
    others = leave_one_out_difficulty(pd.concat(frames.values()))
    left_out = {
        model: length_controlled_win_rate(frame, difficulty=others[model]).value
        for model, frame in frames.items()
    }
    predicted = {
        model: predict_win_rate(LengthWeights(*weights.loc[model]), difficulty=gamma)
        for model in weights.index
    }
    rows = {
        "published weights, given difficulty": predicted,
        "given difficulty, newton": ours(frames, gamma, "newton")[0],
        "given difficulty, alpaca_eval": ours(frames, gamma, "alpaca_eval")[0],
        "difficulty from these models": ours(frames, joint, "newton")[0],
        "difficulty from the other models": left_out,
        "no difficulty": ours(frames, None, "newton")[0],
    }
    print("points from the published length-controlled rates, and Spearman's correlation with them")
    for name, rates in rows.items():
        rank = pd.Series(rates).corr(board, method="spearman")
        print(f"  {name}: {distance(rates, board)}, Spearman {rank:.3f}")


def against_arena(frames: Mapping[str, pd.DataFrame], gamma: "pd.Series[float]") -> None:
    """Spearman's correlation with the Arena's ratings of February and April 2024."""
    arena = pd.read_csv(SHARED / "arena.csv").dropna(subset="Model").set_index("Model")
    refitted = pd.Series(ours(frames, gamma, "newton")[0], name="ours")
    raw = pd.Series({m: 100 * f["preference"].mean() for m, f in frames.items()}, name="our raw")
    for month in ("Feb 2, 2024", "April 18, 2024"):
        elo = arena[f"Arena Elo [{month}]"].rename("elo")
        published = arena[["AlpacaEval 2.0", "LC AlpacaEval 2.0"]].join(elo).dropna()
        common = pd.concat([elo, raw, refitted], axis=1).dropna()
        for table in (published, common):
            ranks = table.corr(method="spearman")["elo"].drop("elo")
            figures = ", ".join(f"{name} {rank:.3f}" for name, rank in ranks.items())
            print(f"Spearman with the Arena of {month}, {len(table)} models: {figures}")


def main() -> None:
    """Print all comparisons."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    if not SHARED.is_dir():
        sys.exit(f"{SHARED} is not there: name the folder of the data in FARM_SHARED_DATA")
    frames = read_frames()
    gamma = pd.read_csv(SHARED / "difficulty_estimate.csv").set_index("instruction_id")[
        "difficulty"
    ]
    if PEER.exists():
        compare(frames, gamma, rounds)
    against_published(frames, gamma)
    against_arena(frames, gamma)


if __name__ == "__main__":
    main()
