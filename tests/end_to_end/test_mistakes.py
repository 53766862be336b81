"""What a user gets wrong ends a run before anything learns, with words instead of a traceback."""

import json
from pathlib import Path

import pytest

from farm import run as farm_run
from farm.config import build, cli, compose, plain
from farm.data.records import last_user_text
from farm.learning import source_node

from .conftest import SMOKE


def _refused(runs: Path, *overrides: str) -> int:
    """The status of a run that must have learned nothing."""
    status = cli(farm_run.task, [*SMOKE, f"runs_dir={runs}", *overrides])
    assert not list(runs.glob("store/policy/*/manifest.json"))
    return status


def test_reference_file_that_is_not_there(
    ray_session: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _refused(tmp_path / "runs", f"evaluation.reference={tmp_path / 'no.json'}") == 2
    assert "evaluation.reference: no file" in capsys.readouterr().err


def test_reference_file_for_the_evaluation_split_alone(
    ray_session: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    instructions = build(source_node(plain(compose(SMOKE)))).load()["evaluation"]
    asked = [last_user_text(instruction) for instruction in instructions]
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps([{"instruction": a, "output": "the hen"} for a in asked]))
    assert _refused(tmp_path / "runs", f"evaluation.reference={answers}") == 3
    error = capsys.readouterr().err
    assert "instructions of validation" in error
    assert "must answer `validation` and `evaluation`" in error


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_reference_directory_without_a_policy(
    ray_session: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "empty").mkdir()
    assert _refused(tmp_path / "runs", f"evaluation.reference={tmp_path / name}") == 2
    assert f"error: evaluation.reference: model.path={tmp_path / name}" in capsys.readouterr().err
