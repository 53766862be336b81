"""What the README says of learners in a package of one's own."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from farm.config import cli

README = Path(__file__).parents[1] / "README.md"
LEARNER = """
class YourLearner:
    needs = frozenset({"judgments"})

    def __init__(self, *, max_new_tokens: int, temperature: float = 1.0) -> None: ...

    def fit(self, start, inputs, context):
        return start
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The README's command, up to the point where the run would start."""
    (example,) = re.findall(r"```yaml\n(_target_: your_package.*?)```", README.read_text(), re.S)
    (tmp_path / "my_conf" / "method").mkdir(parents=True)
    (tmp_path / "my_conf" / "method" / "mine.yaml").write_text(example)
    (tmp_path / "your_package.py").write_text(LEARNER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)

    def run(*overrides: str) -> int:
        command = ["-cd", "my_conf", "method=mine", *overrides]
        return cli(lambda config: int(config.name != "mine"), command)

    return run


def test_a_learner_of_ones_own_is_chosen_by_its_yaml(run: Callable[..., int]) -> None:
    assert run() == 0
    assert run("method.temperature=0.5") == 0


def test_its_keys_are_checked(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("method.temperatur=0.5") == 2
    assert run("method.temperature=warm") == 2
    misspelt, of_wrong_type = capsys.readouterr().err.splitlines()
    assert "method.temperatur" in misspelt and "temperature" in misspelt
    assert "method.temperature: 'warm' is not a number" in of_wrong_type
