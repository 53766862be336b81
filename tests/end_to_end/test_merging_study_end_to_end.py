"""The merging study in miniature: parents, a chain beside them, and merges that end at a parent."""

from pathlib import Path

import pandas as pd
import pytest

from farm import study as farm_study
from farm.config import cli

SMALL = (
    "experiment=smoke",
    "study=merging",
    "cluster.num_cpus=1",
    "name=small",
    "study.seeds=[1]",
    "study.domains={order: [sort, reverse], meaning: [add, compare]}",
    "study.parents={order: ['method=sft', 'method.epochs=null', 'method.max_steps=2', "
    "'method.categories=[sort,reverse]'], meaning: ['method=sft', 'method.epochs=null', "
    "'method.max_steps=2', 'method.categories=[add,compare]']}",
    "+study.others.chain=['method=chain', 'method.links=[{method: sft, epochs: null, "
    "max_steps: 2, categories: [sort,reverse]},{method: merge, policies: [start, sft]}]']",
    "sft.max_steps=3",
)
MERGES = (
    "study.merges={first: ['method=merge', 'method.policies=[order,meaning]', "
    "'method.merge.t.t=0.0'], ties: ['method=merge', 'merging@method.merge=ties', "
    "'method.policies=[start,order,meaning]']}"
)


def study(runs: Path, *overrides: str) -> int:
    return cli(farm_study.task, [*SMALL, f"runs_dir={runs}", *overrides], farm_study.STUDY)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Path:
    """The folder of a finished study."""
    folder = tmp_path_factory.mktemp("merging")
    assert study(folder, MERGES) == 0
    return folder


def test_all_policies_are_scored_by_domain(runs: Path) -> None:
    folder = runs / "studies" / "small"
    scores = pd.read_parquet(folder / "scores.parquet")
    wide = scores.pivot(index="policy", columns="domain", values="score")
    assert set(wide.index) == {"start", "order", "meaning", "chain", "first", "ties"}
    assert (wide.loc["first"] == wide.loc["order"]).all(), "t = 0 is the first parent"
    likeness = pd.read_parquet(folder / "likeness.parquet").set_index("policy")
    assert likeness["nearly_parallel"].between(0, 1).all()
    assert {"performance.parquet", "gains.parquet"} <= {path.name for path in folder.iterdir()}


def test_the_chain_begins_with_the_parents_artefact(runs: Path) -> None:
    assert len(list((runs / "store" / "policy").glob("*/manifest.json"))) == 6


def test_again_it_would_build_nothing(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert study(runs, MERGES, "dry_run=true") == 0
    assert " 0 to build" in capsys.readouterr().out


def test_a_merge_of_somebody_else_is_named(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = MERGES.replace("start,order,meaning", "start,order,meanign")
    assert study(runs, wrong, "dry_run=true") == 2
    assert "Did you mean meaning" in capsys.readouterr().err
