"""Mistakes on the command line are answered with status 2, the key and its neighbours."""

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import DictConfig

from farm.config import cli, compose, plain
from farm.errors import DataError
from farm.settings import Settings

REPOSITORY = Path(__file__).parents[1]

MISTAKES = [
    # argument(s), the key that is named, what is suggested
    ("methd=ppo", "methd", "method"),
    ("method=pppo", "method=pppo", "ppo"),
    ("method=null", "method=null", "ppo"),
    ("method@stf=sft", "method@stf", "sft"),
    ("+method=dpo", "method", "without +"),
    ("sft=sft", "sft", "method@sft=sft"),
    ("cluster=locl", "cluster=locl", "local"),
    ("data.gold=gsm8k_exact_mach", "data.gold", "gsm8k_exact_match"),
    ("sft.learning_rat=1", "sft.learning_rat", "learning_rate"),
    ("+sft.learning_rat=1", "sft.learning_rat", "learning_rate"),
    ("~sft.learning_rat", "sft.learning_rat", "learning_rate"),
    ("validation_instruction=3", "validation_instruction", "evaluation.validation_instructions"),
    ("+sead=1", "sead", "seed"),
    ("sft.learning_rate=abc", "sft.learning_rate", "a number"),
    ("sft.batch_size=1.5", "sft.batch_size", "a whole number"),
    ("sft.batch_size=true", "sft.batch_size", "a whole number"),
    ("seed=x", "seed", "a whole number"),
    ("seed=-1", "seed", "0 or more"),
    ("decoding.temperature=nan", "decoding.temperature", "0 or more, not nan"),
    ("+decoding.control=x", "decoding.control", "no such key"),
    ("name=a/b", "name=a/b", "leave out /"),
    ("start=sftt", "start", "sft"),
    ("dry_run=yess", "dry_run", "true or false"),
    ("evaluation.temperatures=[a]", "evaluation.temperatures[0]", "a number"),
    ("evaluation.temperatures=[]", "evaluation.temperatures", "at least one"),
    ("cluster.max_restarts=-1", "cluster.max_restarts", "0 or more"),
    ("cluster.max_restart=1", "cluster.max_restart", "max_restarts"),
    ("data=files", "data.path", "data.path=VALUE"),
    ("reward=callable", "reward.function", "package.module:function"),
    ("data.path=FILE", "data.path", "data=files"),
    ("model.path=DIR", "model.path", "model=pretrained"),
    ("reward.function=a:b", "reward.function", "reward=callable"),
    ("sft._target_=methods.sft.SFFT", "sft._target_", "SFT"),
    ("sft._target_=methods.sfft.SFT", "sft._target_", "sft"),
    ("tuning._target_=farm.scorers.callable.CallableScorer", "tuning", "function"),
    ("sampler._target_=os.system", "sampler._target_", "Python's own"),
    ("decoding.max_new_tokens=${model.max_new_token}", "decoding.max_new_tokens", "not found"),
    ("seed=1,2", "seed=1,2", "-m"),
    ("seed", "seed", "KEY=VALUE"),
    ("-m seed=1,x", "seed", "in the job seed=x"),
    ("-m seed=1,2 methd=ppo", "methd", "method"),
    ("-cd nowhere", "nowhere", "no such folder"),
]


def never(config: DictConfig) -> int:
    raise AssertionError("the task must not start")


@pytest.mark.parametrize(("arguments", "named", "hint"), MISTAKES)
def test_mistakes_are_named_with_their_neighbours(
    arguments: str, named: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli(never, arguments.split()) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert named in message
    assert hint in message
    assert message.count("\n") == 1


def test_the_task_gets_the_checked_configuration_and_its_status_is_returned() -> None:
    seen: list[DictConfig] = []

    def task(config: DictConfig) -> int:
        seen.append(config)
        return 0

    assert cli(task, ["seed=5", "decoding.temperature=1"]) == 0
    settings = Settings.from_plain(plain(seen[0]))
    assert (settings.seed, settings.decoding.temperature, settings.name) == (5, 1, "ppo")


@pytest.mark.parametrize(
    ("key", "whole", "point"),
    [
        ("method.kl.coefficient", "1", "1.0"),
        ("pairs.temperature", "1", "1.0"),
        ("data.gold.correct", "1", "1.0"),
        ("evaluation.temperatures", "[0,1]", "[0.0,1.0]"),
    ],
)
def test_whole_numbers_and_their_floats_are_one(key: str, whole: str, point: str) -> None:
    one, other = (plain(compose([f"{key}={value}"])) for value in (whole, point))
    assert repr(one) == repr(other)


def test_errors_for_people_become_their_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    def task(config: DictConfig) -> int:
        raise DataError("rows.csv:3: no column 'instruction'.")

    assert cli(task, []) == DataError.exit_code
    assert capsys.readouterr().err == "error: rows.csv:3: no column 'instruction'.\n"


def test_interruption_is_status_130(capsys: pytest.CaptureFixture[str]) -> None:
    def task(config: DictConfig) -> int:
        raise KeyboardInterrupt

    assert cli(task, []) == 130
    assert cli(task, ["-m", "seed=1,2"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_failing_job_of_a_sweep_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[tuple[str, int]] = []

    def task(config: DictConfig) -> int:
        seen.append((config.name, config.seed))
        if config.seed == 1:
            raise DataError("bad") if config.name == "ppo" else RuntimeError("a bug")
        return 0

    assert cli(task, ["-m", "method=ppo,dpo", "seed=1,2"]) == DataError.exit_code
    assert seen == [("ppo", 1), ("ppo", 2), ("dpo", 1), ("dpo", 2)]
    assert not list(tmp_path.iterdir()), "a sweep leaves no files of Hydra's"


def test_a_choice_of_the_users_own_is_found(tmp_path: Path) -> None:
    (tmp_path / "tuning").mkdir()
    (tmp_path / "tuning" / "mine.yaml").write_text("_target_: farm.training.tuning.Full\n")
    assert cli(lambda config: 0, ["-cd", str(tmp_path), "tuning=mine"]) == 0


def test_gold_of_the_data_can_be_replaced() -> None:
    files = ["data=files", "data.path=rows.jsonl"]
    assert compose(files).data.gold is None
    exact = compose([*files, "data.gold=gsm8k_exact_match"])
    assert exact.data.gold._target_.endswith("ExactMatch")
    assert "Barnyard" in compose().data.gold._target_


@pytest.mark.parametrize(
    "command",
    [
        "method=ppo",
        "method=dpo seed=1 method.beta=0.2",
        "experiment=smoke",
        "experiment=smoke method=dpo",
        "experiment=overoptimization",
        "experiment=shuffled_labels",
        "method=ppo data=files data.path=F.jsonl data.gold=gsm8k_exact_match model=tiny_bpe "
        "annotators=demonstration_overlap evaluators=none",
        "data=files data.path=F.jsonl model=pretrained model.path=D start=instruct",
    ],
)
def test_documented_commands_compose(command: str) -> None:
    compose(command.split())


def farm_run(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "farm.run", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_the_command_itself(tmp_path: Path) -> None:
    wrong = farm_run("method=ppo", "method.betta=1", folder=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "method.betta" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    shown = farm_run("method=dpo", "--cfg", "job", folder=tmp_path)
    assert shown.returncode == 0
    assert "methods.dpo.DPO" in shown.stdout
    helped = farm_run("--help", folder=tmp_path)
    assert helped.returncode == 0
    assert "method: " in helped.stdout
    assert not list(tmp_path.iterdir())
