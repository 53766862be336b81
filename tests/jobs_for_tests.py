"""Functions that test jobs run in real workers."""

import os
import signal
import time
from collections.abc import Sequence
from typing import Any

from farm.errors import DataError
from farm.pool import in_pieces
from farm.stages.job import Job
from farm.types import Instruction


def count(job: Job) -> dict[str, Any]:
    """Count to three, one file per number, dying before `config['dies_before']` the first time."""
    for number in range(3):
        done = job.work / f"{number}"
        if number == job.config.get("dies_before") and not (job.work / "died").exists():
            (job.work / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if not done.exists():
            done.write_text(str(os.getpid()))
        job.progress(number + 1, 3)
    return {"pids": sorted({(job.work / str(n)).read_text() for n in range(3)})}


def die(job: Job) -> dict[str, Any]:
    """Always die."""
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def meet(job: Job) -> dict[str, Any]:
    """All ranks' processes, after `config['rounds']` meetings; in the second one rank 1 dies, or
    hangs where `config['hangs']` says so, the first time."""
    for number in range(job.config["rounds"]):
        if job.ranks.rank == 1 and number == 1 and not (job.work / "gone").exists():
            (job.work / "gone").touch()
            print("rank 1 says farewell", flush=True)
            if job.config.get("hangs"):
                time.sleep(600)
            os.kill(os.getpid(), signal.SIGKILL)
        pids = job.ranks.gather([os.getpid()])
        job.progress(number, job.config["rounds"])
    return {"pids": pids, "by": job.ranks.rank, "ranks": type(job.ranks).__name__}


def hang(job: Job) -> dict[str, Any]:
    """Never report progress."""
    time.sleep(600)
    return {}


def ask_helpers(job: Job) -> dict[str, Any]:
    """The processes of this job and of those who help it."""
    return {"pid": os.getpid(), "pids": in_pieces(_pids, [0])}


def _pids(rows: Sequence[int]) -> list[int]:
    return [os.getpid() for _ in rows]


def loads_of_local_models(task: int) -> tuple[int, int]:
    """This process, and how often it has loaded a local model's weights."""
    from simulators.chat import local

    time.sleep(0.05)  # so that another process takes the next task
    return os.getpid(), local._load.cache_info().misses


def refuse(job: Job) -> dict[str, Any]:
    """Raise an error for people."""
    raise DataError("file.jsonl, line 3: no instruction.")


def digits(instructions: Sequence[Instruction], texts: Sequence[str]) -> list[float]:
    """A reward: how many digits an answer has."""
    return [float(sum(sign.isdigit() for sign in text)) for text in texts]
