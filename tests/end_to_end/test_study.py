"""A study in miniature: it runs, runs again from what it has, plans, and says what is wrong."""

from pathlib import Path

import pandas as pd
import pytest

from farm import study as farm_study
from farm.config import cli

SMALL = (
    "experiment=smoke",
    "cluster.num_cpus=1",
    "study.seeds=[1,2]",
    "study.annotators=[barnyard,barnyard_human]",
    "study.human=barnyard_human",
    "study.samples=4",
    "study.shares=[1.0]",
    "evaluation.temperatures=[0.0,1.0]",
)
BIAS = (
    "+study.biases.length={judge: {_target_: simulators.bias.LengthBias, strength: 0.0, "
    "annotator: ${annotators.clean}}, doses: [0.5]}"
)
VARIANTS = "+study.variants={ppo: [['method.kl.coefficient=0.1']], best_of_n: [['method.n=4']]}"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Path:
    """The folder of a finished study."""
    folder = tmp_path_factory.mktemp("study")
    assert study(folder) == 0
    return folder


def study(runs: Path, *overrides: str) -> int:
    asked = [*SMALL, BIAS, VARIANTS, f"runs_dir={runs}", *overrides]
    return cli(farm_study.task, asked, farm_study.STUDY)


def test_every_learner_joins_and_all_evaluators_judge(runs: Path) -> None:
    folder = next((runs / "studies").iterdir())
    policies = pd.read_parquet(folder / "policies.parquet")
    methods = {name.split()[0] for name in policies["policy"]}
    assert {"start", "ppo", "dpo", "best_of_n"} <= methods
    judged = {name for name in policies if name.startswith("by ")}
    assert judged == {"by barnyard", "by barnyard_human", "by held out", "by length 0.5"}
    assert policies[sorted(judged)].notna().all().all()
    per_cell = policies.groupby(["seed", "annotators", "policy"]).size()
    assert per_cell.nunique() == 1
    assert len(per_cell) == 2 * 2 * policies["policy"].nunique()
    correlations = pd.read_csv(folder / "correlations.csv")
    assert {"end to end", "evaluation only", "training only"} <= set(correlations["comparison"])
    assert correlations["spearman"].dropna().between(-1, 1).all()
    assert (folder / "study.html").exists()


def test_the_reference_is_one_for_all_annotators_of_a_seed(runs: Path) -> None:
    folder = next((runs / "studies").iterdir())
    policies = pd.read_parquet(folder / "policies.parquet")
    lengths = policies.groupby(["seed", "instruction_id"])["length_reference"].nunique()
    assert (lengths == 1).all()


def test_again_it_would_build_nothing(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert study(runs, "dry_run=true") == 0
    assert " 0 to build" in capsys.readouterr().out


def test_a_plan_needs_a_pilot(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study(runs, "plan=true") == 0
    assert "instructions" in capsys.readouterr().out
    assert study(tmp_path, "plan=true") == 3
    assert "study.seeds=[1,2]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("study.human=barnyard_humn", "study.human"),
        ("study.seeds=[1,1]", "study.seeds"),
        ("study.annotators=[barnyrd,barnyard_human]", "barnyrd"),
        ("study.shares=[0]", "study.shares"),
        ("study.curve=pppo", "study.curve"),
        ("+study.variants.dpo=[['method.stps=3']]", "method.stps"),
    ],
)
def test_mistakes_are_named_before_anything_runs(
    override: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study(tmp_path, override) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
