"""The reward-model study in miniature: it runs, runs again from what it has, says what is wrong."""

from pathlib import Path

import pandas as pd
import pytest

from farm import study as farm_study
from farm.config import cli

SHUFFLED = "shuffled: ['reward=bradley_terry', 'annotators=barnyard_graded_shuffled']"
SMALL = (
    "experiment=smoke",
    "study=reward_models",
    "annotators=barnyard_graded",
    "cluster.num_cpus=1",
    "name=small",
    "study.seeds=[1]",
    "study.baseline=plain",
    "study.variants={plain: ['reward=bradley_terry'], " + SHUFFLED + "}",
    "sft.max_steps=3",
)


def study(runs: Path, *overrides: str) -> int:
    return cli(farm_study.task, [*SMALL, f"runs_dir={runs}", *overrides], farm_study.STUDY)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Path:
    """The folder of a finished study."""
    folder = tmp_path_factory.mktemp("reward_models")
    assert study(folder) == 0
    return folder


def test_all_variants_are_measured_on_the_same_pairs_and_labels(runs: Path) -> None:
    folder = runs / "studies" / "small"
    figures = pd.read_parquet(folder / "figures.parquet").set_index(["variant", "labels"])
    assert set(figures.index.get_level_values("variant")) == {"plain", "shuffled"}
    same = figures.groupby("labels")[["pairs", "annotators", "label_length"]].nunique(dropna=False)
    assert (same == 1).all().all()
    assert figures["accuracy"].between(0, 100).all()
    assert {"reward_models.html", "reward_models.md"} <= {path.name for path in folder.iterdir()}


def test_shuffled_strengths_are_nothing_to_who_reads_none(runs: Path) -> None:
    figures = pd.read_parquet(runs / "studies" / "small" / "figures.parquet")
    plain, shuffled = (
        figures[figures["variant"] == name].drop(columns="variant").reset_index(drop=True)
        for name in ("plain", "shuffled")
    )
    pd.testing.assert_frame_equal(plain, shuffled)


def test_again_it_would_build_nothing(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert study(runs, "dry_run=true") == 0
    assert " 0 to build" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("study.baseline=plian", "Did you mean plain"),
        ("study.variants={wrong: ['reward=bradly_terry']}", "study.variants.wrong"),
        ("study.variants={wrong: ['reward.learning_rat=1']}", "reward.learning_rat"),
    ],
)
def test_mistakes_are_named_before_anything_runs(
    override: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study(tmp_path, override) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_all_variants_of_the_experiment_can_be_planned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["experiment=reward_models", "study.seeds=[401]", f"runs_dir={tmp_path}"]
    assert cli(farm_study.task, [*asked, "dry_run=true"], farm_study.STUDY) == 0
    planned = capsys.readouterr().out
    assert planned.count(", seed 401:") == planned.count("reward measured") == 10
