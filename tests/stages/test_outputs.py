"""Sampling chunk by chunk: the same answers, and none of them twice after a kill."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import toy_policy as toy

from farm.artifacts import Store
from farm.data.records import write_instructions
from farm.generation.sampler import FarmSampler
from farm.stages import outputs
from farm.stages.job import Job
from farm.types import Completion, Instruction

ASKED = toy.instructions(24)


class Killed(Exception):
    pass


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    write_instructions(ASKED, tmp_path / "validation.parquet")
    toy.starting_policy(tmp_path / "policy", seed=0)
    return {"instructions": tmp_path, "policy": tmp_path / "policy"}


def sampled(folders: dict[str, Path], root: Path, on_progress: Any = None) -> list[Completion]:
    """Two answers to each instruction."""
    config = {
        "sampler": {
            "_target_": "farm.generation.sampler.FarmSampler",
            "_partial_": True,
            "batch_size": 8,
            "max_prompt_tokens": toy.LIMITS["max_prompt_tokens"],
            "device": "cpu",
        },
        "decoding": {"temperature": 1.0, "max_new_tokens": toy.LIMITS["max_new_tokens"]},
        "split": "validation",
        "limit": None,
        "n": 2,
    }
    with Store(root / "store").building("outputs", "key", lambda: None) as build:
        job = Job(
            "farm.stages.outputs:sample", "outputs", "key", build.work, build.token, Store(root),
            config, folders, seed=3, on_progress=on_progress,
        )  # fmt: skip
        outputs.sample(job)
        return outputs.load_completions(build.work)


def test_chunks_change_nothing_and_survive_a_kill(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sampled(folders, tmp_path / "whole")
    asked: list[str] = []
    sample = FarmSampler.sample

    def noted(
        self: FarmSampler, instructions: Sequence[Instruction], **keys: Any
    ) -> list[Completion]:
        asked.extend(i.id for i in instructions)
        return sample(self, instructions, **keys)

    def kill(step: int, total: int, metrics: object) -> None:
        if step > total // 2:
            raise Killed

    monkeypatch.setattr(FarmSampler, "sample", noted)
    monkeypatch.setattr(outputs, "_CHUNK", 10)
    with pytest.raises(Killed):
        sampled(folders, tmp_path / "killed", kill)
    assert 0 < len(asked) < len(ASKED)
    assert sampled(folders, tmp_path / "killed") == whole
    assert asked == [i.id for i in ASKED]
