"""The README's learner in a package of one's own runs through the whole pipeline."""

import os
import re
import subprocess
import sys
from pathlib import Path

from .conftest import REPOSITORY, SMOKE, Finished, run_folders

README = (REPOSITORY / "README.md").read_text()


def test_the_readmes_learner_runs_from_one_line(
    smoke: Finished, smoke_runs: Path, tmp_path: Path
) -> None:
    (code,) = re.findall(r"```python\n(from dataclasses.*?)```", README, re.S)
    (command,) = re.findall(r"python -m (farm\.run .*your_package\.LengthAverse.*)", README)
    assert len(code.splitlines()) < 30
    (tmp_path / "your_package.py").write_text(code)
    before = run_folders(smoke_runs)
    done = subprocess.run(
        [sys.executable, "-m", *command.split(), *SMOKE, f"runs_dir={smoke_runs}", "name=mine"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (path,) = run_folders(smoke_runs) - before
    run = Finished(path)
    assert run.info["method"] == "lengthaverse"
    assert {"sft", "pairs", "judgments"} <= run.stages(reused=True)
    assert "lengthaverse" in run.stages(reused=False)
    assert run.table("curve")["win_rate"].notna().all()
