"""Trackers write what readers of a run's folder expect."""

import json
import sys
from pathlib import Path

import pytest

from farm.errors import FarmError
from farm.tracking import Jsonl, TensorBoard

STAGES = {
    "sft": [{"step": 1, "loss": 2.0, "time_s": 5.0}],
    "ppo": [{"step": 1, "reward": 0.5, "time_s": 6.0}, {"step": 2, "reward": 1.0, "time_s": 7.0}],
}


def test_jsonl_holds_one_object_per_step_and_is_replaced(tmp_path: Path) -> None:
    Jsonl().write(tmp_path, STAGES)
    Jsonl().write(tmp_path, STAGES)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["step"]) for line in lines] == [("sft", 1), ("ppo", 1), ("ppo", 2)]
    assert lines[2]["reward"] == 1.0


def test_tensorboard_writes_a_tag_per_stage_and_metric(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    TensorBoard().write(tmp_path, STAGES)
    TensorBoard().write(tmp_path, STAGES)
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"ppo/reward" in events.read_bytes()
    assert b"time_s" not in events.read_bytes()
    assert (tmp_path / "metrics.jsonl").exists()


def test_missing_tensorboard_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(FarmError, match="tracking"):
        TensorBoard().write(tmp_path, STAGES)
