"""Trackers write what readers of a run's folder expect."""

from pathlib import Path

import pytest

from farm.tracking import Jsonl, TensorBoard

STAGES = {
    "sft": [{"step": 1, "loss": 2.0, "time_s": 5.0}],
    "ppo": [{"step": 1, "reward": 0.5, "time_s": 6.0}, {"step": 2, "reward": 1.0, "time_s": 7.0}],
}


def test_jsonl_writes_nothing_besides_the_folders_own_metrics(tmp_path: Path) -> None:
    Jsonl().write(tmp_path, STAGES)
    assert not list(tmp_path.iterdir())


def test_tensorboard_writes_a_tag_per_stage_and_metric(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    TensorBoard().write(tmp_path, STAGES)
    TensorBoard().write(tmp_path, STAGES)
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"ppo/reward" in events.read_bytes()
    assert b"time_s" not in events.read_bytes()
