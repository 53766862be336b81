"""TRL's arguments mean what the schedule says."""

from pathlib import Path

import pytest
import torch
import toy_policy as toy
from trl import SFTConfig

from farm.training.schedule import Schedule
from farm.training.trainer import arguments

SCHEDULE = Schedule(
    learning_rate=1e-3,
    epochs=1.0,
    max_steps=None,
    batch_size=8,
    warmup_ratio=0.0,
    lr_schedule="cosine",
    weight_decay=0.0,
    max_grad_norm=1.0,
)


def test_a_step_takes_one_batch_however_many_gpus_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    context = toy.context(tmp_path)
    context.device = "cuda"
    args = arguments(SFTConfig, SCHEDULE, context, steps=2, resume_every=1)
    assert args.n_gpu == 1, "no DataParallel"
    assert args.train_batch_size * args.world_size == SCHEDULE.batch_size
