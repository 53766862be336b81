"""Wall time and peak memory of the main job in an empty store, then of a second method on it.

    python tests/benchmarks/bench_main_job.py [OVERRIDE ...]

Memory is the proportional set size (PSS) summed over the command's process tree and Ray's
processes, sampled twice a second.
"""

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import psutil


@dataclass
class Measured:
    """One command."""

    wall_s: float
    peak_pss_gb: float
    output: str


def _pss_bytes(root: psutil.Process, known: dict[int, psutil.Process]) -> int:
    """Summed PSS of the tree; processes that leave it (Ray's daemons) stay known."""
    total = 0
    known.update({p.pid: p for p in [root, *root.children(recursive=True)]})
    for pid, process in list(known.items()):
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            del known[pid]
    return total


def measure(command: list[str]) -> Measured:
    """Run a command to its end."""
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = psutil.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        known: dict[int, psutil.Process] = {}
        peak = 0
        while process.poll() is None:
            try:
                peak = max(peak, _pss_bytes(process, known))
            except psutil.NoSuchProcess:
                break
            time.sleep(0.5)
        status = process.wait()
        wall_s = time.monotonic() - started
        output.seek(0)
        text = output.read()
    if status:
        raise SystemExit(text)
    return Measured(wall_s, peak / 1e9, text)


def main() -> None:
    """Print both runs and their figures."""
    overrides = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        for method in ("ppo", "dpo", "ppo"):
            command = [sys.executable, "-m", "farm.run", f"method={method}", f"runs_dir={folder}"]
            measured = measure([*command, *overrides])
            print(measured.output)
            print(
                f"method={method}: {measured.wall_s:.0f} s, "
                f"peak {measured.peak_pss_gb:.2f} GB summed PSS\n",
                flush=True,
            )


if __name__ == "__main__":
    main()
