"""What jobs of test sweeps do before or instead of a run."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import ray
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from farm import run as farm_run
from farm.errors import DataError

_DEADLINE_S = 120.0


def run_side_by_side(config: DictConfig) -> int:
    """With seed 1, runs that wait for each other. With seed 2, SFT is killed and DPO is wrong."""
    print("the job begins")
    method = config.name.removeprefix("smoke_")
    if config.seed == 2:
        if method == "sft":
            os.kill(os.getpid(), signal.SIGKILL)
        raise DataError("rows.csv:3: no column 'instruction'.\nIt has others.")
    _note(method)
    _wait_for(Path("sft.json"))
    _wait_for(Path("dpo.json"))
    os.write(1, b"past Python\n")
    return farm_run.task(config)


def never_end(config: DictConfig) -> int:
    """Wait for what does not come."""
    _note(f"seed-{config.seed}")
    _wait_for(Path("never"))
    return 0


def _path() -> list[str]:
    return sys.path


def _note(name: str) -> None:
    child = ray.remote(num_cpus=0)(_path)
    about = {
        "pid": os.getpid(),
        "number": HydraConfig.get().job.num,
        "main_thread": threading.current_thread() is threading.main_thread(),
        "cluster": ray.get_runtime_context().gcs_address,
        "path": sys.path,
        "path_of_a_child": ray.get(child.remote(), timeout=_DEADLINE_S),
    }
    partial = Path(f"{name}.partial")
    partial.write_text(json.dumps(about))
    partial.rename(f"{name}.json")


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path} never came")
        time.sleep(0.05)
