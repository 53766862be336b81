"""The study of self-training in miniature: it runs, from tasks to the report, and runs again from
what it has."""

from pathlib import Path

import pandas as pd
import pytest

from farm import study as farm_study
from farm.config import cli

TINY = (
    "experiment=isheep", "cluster.num_cpus=1", "study.seeds=[1,2]", "sft.max_steps=8",
    "sft.batch_size=16", "method.rounds=2", "method.tasks=24", "method.seed_tasks=20",
    "method.max_steps=2", "method.batch_size=16",
    "method.selection.threshold=1.0",  # so poor a policy is only ever right by chance
    "model.hidden_size=32", "model.layers=1", "model.heads=2", "model.intermediate_size=64",
    "data.tasks=60", "data.source.sft=120", "data.source.unlabeled=20",
    "data.source.evaluation=20", "evaluation.temperatures=[0.0]",
)  # fmt: skip


def study(runs: Path, *overrides: str) -> int:
    return cli(farm_study.task, [*TINY, f"runs_dir={runs}", *overrides], farm_study.STUDY)


@pytest.mark.slow
def test_all_variants_are_trained_verified_and_told_of(
    ray_session: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study(tmp_path) == 0
    folder = tmp_path / "studies" / "isheep"
    candidates = pd.read_parquet(folder / "candidates.parquet")
    first = candidates[candidates["round"] == 1].groupby(["seed", "variant"])["text"].agg(tuple)
    assert first.groupby("seed").nunique().eq(1).all()  # all variants begin alike
    rounds = pd.read_csv(folder / "rounds.csv")
    assert rounds.groupby("variant")["round"].agg(tuple).map(len).eq(3).all()
    assert rounds["accuracy"].between(0, 100).all()
    thresholds = pd.read_csv(folder / "thresholds.csv")
    assert thresholds["assessment"].nunique() == 5
    assert (folder / "self_training.html").exists()
    capsys.readouterr()
    assert study(tmp_path, "dry_run=true") == 0
    assert " 0 to build" in capsys.readouterr().out


def test_mistakes_are_named_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study(tmp_path, "study.baseline=from_base") == 2
    assert "Did you mean from base" in capsys.readouterr().err
    assert study(tmp_path, "study.assessments={odd: ['reward.questions.folowing.auroc=1']}") == 2
    assert "folowing" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
