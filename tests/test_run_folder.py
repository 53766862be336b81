"""The view of one run that its folder is, from the first stage on."""

import json
from pathlib import Path

import pytest

from farm.errors import ConfigError
from farm.run_folder import RunFolder, run_folder


def test_metrics_are_one_object_per_step_and_replaced(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, {})
    sft = [{"step": 1, "loss": 2.0}]
    folder.write_metrics({"start": sft})
    folder.write_metrics({"start": sft, "ppo": [{"step": 1, "reward": 0.5}, {"step": 2}]})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["step"]) for line in lines] == [
        ("start", 1), ("ppo", 1), ("ppo", 2),
    ]  # fmt: skip
    assert lines[1]["reward"] == 0.5


def test_a_runs_dir_that_is_a_file_is_a_mistake_in_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for runs in (file, file / "below"):
        with pytest.raises(ConfigError, match=f"^runs_dir={runs}"), run_folder(runs, "name", {}):
            pass
