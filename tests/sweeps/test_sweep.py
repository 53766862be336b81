"""What ends a sweep, whoever launches it: one table, and the first failure's exit status."""

from pathlib import Path

import pytest
from omegaconf import DictConfig

from farm.config import cli, plain
from farm.errors import DataError
from farm.run_folder import run_folder
from farm.sweep import labels


def begin(config: DictConfig) -> int:
    """Runs that come no further than their folder, but for the first, which is fine."""
    if config.seed == 1:
        return 0
    with run_folder(Path(config.runs_dir), config.name, plain(config)) as folder:
        folder.begin("", {})
        if config.seed == 2:
            raise DataError("[rows].csv:3: no column.\nIt has others.")
        raise RuntimeError("a bug")


def test_a_sweep_one_after_the_other_ends_with_one_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli(begin, ["-m", "seed=1,2,3", "name=mine", "method=dpo"]) == DataError.exit_code
    said = capsys.readouterr()
    folders = sorted(path.name for path in tmp_path.glob("runs/*-mine*"))
    fine, wrong, broken = said.out.partition("1 of 3 jobs finished")[2].split("seed=")[1:]
    assert "finished" in fine and "runs/" not in fine
    assert "failed (3)" in wrong and f"runs/{folders[0]}" in wrong
    assert "[rows].csv:3: no column." in wrong and "others" not in wrong
    assert "failed (1)" in broken and "RuntimeError: a bug" in broken
    assert "mine seed" not in said.out and "%" not in said.out
    assert "Traceback" in said.err


def test_jobs_are_named_by_what_tells_them_apart() -> None:
    jobs = [["a=1", "b=1", "c=1"], ["a=1", "b=2", "c=1"], ["a=1", "b=1", "c=2"]]
    assert labels(jobs) == ["b=1 c=1", "b=2 c=1", "b=1 c=2"]
    assert labels(jobs[:1]) == ["a=1 b=1 c=1"]
