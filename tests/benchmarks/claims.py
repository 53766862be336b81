"""The README's claims on seeds that nothing was tuned on.

    python tests/benchmarks/claims.py ppo              method=ppo
    python tests/benchmarks/claims.py overoptimization experiment=overoptimization
    python tests/benchmarks/claims.py shuffled_labels  experiment=shuffled_labels

Runs five seeds into `runs/claims` (finished stages are reused) and prints each seed's figures
and the mean with the 95 % interval of a bootstrap crossed over seeds and instructions.
"""

import subprocess
import sys
from pathlib import Path

from farm import analysis

SEEDS = (101, 102, 103, 104, 105)
RUNS = Path("runs/claims")

CLAIMS = {
    "ppo": ["method=ppo"],
    "dpo": ["method=dpo"],
    "overoptimization": ["experiment=overoptimization"],
    "shuffled_labels": ["experiment=shuffled_labels"],
}


def main() -> None:
    """Run and print one claim."""
    claim, *overrides = sys.argv[1:]
    seeds = ",".join(map(str, SEEDS))
    command = [sys.executable, "-m", "farm.run", "-m", *CLAIMS[claim], f"seed={seeds}"]
    subprocess.run([*command, f"name={claim}", f"runs_dir={RUNS}", *overrides], check=True)
    runs = [r for r in analysis.load_runs(RUNS) if r.info["name"] == claim]
    print(analysis.final_table(runs).to_string())
    print(analysis.method_table(runs).to_string())
    if claim == "overoptimization":
        print(analysis.turning_points(runs).to_string())


if __name__ == "__main__":
    main()
