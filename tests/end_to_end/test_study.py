"""Studies in miniature: they run, run again from what they have, and say what is wrong."""

import json
from pathlib import Path

import pandas as pd
import pytest

from farm import run as farm_run
from farm import study as farm_study
from farm.config import cli

SHARED = ("experiment=smoke", "cluster.num_cpus=1", "evaluation.temperatures=[0.0,1.0]")
SMALL = (
    "study.seeds=[1,2]",
    "study.methods=[ppo,dpo,best_of_n]",
    "study.annotators=[barnyard,barnyard_human]",
    "study.human=barnyard_human",
    "study.samples=4",
    "study.shares=[1.0]",
)
BIAS = (
    "+study.biases.length={judge: {_target_: simulators.bias.LengthBias, strength: 0.0, "
    "annotator: ${annotators.clean}}, doses: [0.5]}"
)
VARIANTS = "+study.variants={ppo: [['method.kl.coefficient=0.1']], best_of_n: [['method.n=4']]}"

COMPARISON = (
    "study=comparison",
    "study.seeds=[1]",
    "study.tuning_seeds=[2]",
    "study.methods=[sft,best_of_n]",
    "study.trials={sft: [['method.epochs=0.5'], ['method.epochs=1.0']], "
    "best_of_n: [['method.n=2'], ['method.n=4']]}",
)
"""What it shares with the ranking, that one has made."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Path:
    """The folder of a finished study."""
    folder = tmp_path_factory.mktemp("study")
    assert study(folder) == 0
    return folder


def study(runs: Path, *overrides: str) -> int:
    return asked(runs, *SMALL, BIAS, VARIANTS, "name=ranking", *overrides)


def asked(runs: Path, *overrides: str) -> int:
    return cli(farm_study.task, [*SHARED, f"runs_dir={runs}", *overrides], farm_study.STUDY)


def test_every_learner_joins_and_all_evaluators_judge(runs: Path) -> None:
    folder = runs / "studies" / "ranking"
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
    policies = pd.read_parquet(runs / "studies" / "ranking" / "policies.parquet")
    lengths = policies.groupby(["seed", "instruction_id"])["length_reference"].nunique()
    assert (lengths == 1).all()


def test_again_it_would_build_nothing(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert study(runs, "dry_run=true") == 0
    assert " 0 to build" in capsys.readouterr().out


def test_a_plan_needs_a_pilot(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study(runs, "study.plan=true") == 0
    assert "instructions" in capsys.readouterr().out
    assert study(tmp_path, "study.plan=true") == 3
    assert "study.seeds=[1,2]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("study.human=barnyard_humn", "study.human"),
        ("study.seeds=[1,1]", "study.seeds"),
        ("study.annotators=[barnyrd,barnyard_human]", "barnyrd"),
        ("study.shares=[0]", "study.shares"),
        ("study.curve=pppo", "study.curve"),
        ("study.methods=[dpo,pp]", "study.methods: there is no method pp"),
        ("+study.variants.dpo=[['method.stps=3']]", "method.stps"),
    ],
)
def test_mistakes_are_named_before_anything_runs(
    override: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study(tmp_path, override) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_all_methods_are_compared_after_equal_tuning(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(runs, *COMPARISON, "name=comparison") == 0
    folder = runs / "studies" / "comparison"
    trials = pd.read_parquet(folder / "trials.parquet")
    assert trials.groupby("method").size().to_dict() == {"sft": 2, "best_of_n": 2}
    assert set(trials["seed"]) == {2}
    won = trials[trials["chosen"]].set_index("method")
    assert won["win_rate"].to_dict() == trials.groupby("method")["win_rate"].max().to_dict()
    table = pd.read_csv(folder / "comparison.csv").set_index("policy")
    starts = {"start at temperature 0", "start at temperature 1", "start, longest answer"}
    assert set(table.index) == {"sft", "best_of_n"} | starts
    assert table[["pool", "held_out", "gold"]].notna().all().all()
    assert table.loc["best_of_n", ["judgments", "prompts"]].tolist() == [128, 64]
    assert table.loc["sft", ["judgments", "prompts", "drawn"]].tolist() == [0, 64, 1]
    assert table["settings"].dropna().to_dict() == won["settings"].to_dict()
    assert table.loc["best_of_n", "drawn"] in (2, 4)
    assert (table.loc[["sft", "best_of_n"], "flops"] > 0).all()
    assert len((folder / "comparison.md").read_text().splitlines()) == 2 + 2 + len(table)
    capsys.readouterr()
    assert asked(runs, *COMPARISON, "dry_run=true") == 0
    assert " 0 to build" in capsys.readouterr().out


def test_a_single_run_finds_what_the_comparison_made(runs: Path) -> None:
    """One row of the table and one run's final figures are the same measurement."""
    table = pd.read_csv(runs / "studies" / "comparison" / "comparison.csv").set_index("policy")
    keys = [f"method.{key}" for key in table.loc["sft", "settings"].split()]
    run = [*SHARED, "method=sft", "seed=1", *keys, f"runs_dir={runs}"]
    assert cli(farm_run.task, run) == 0
    (path,) = runs.glob("*/run.json")
    info = json.loads(path.read_text())
    assert info["labels"] == 0
    final = pd.read_parquet(path.parent / "final.parquet").set_index("role").loc["selected"]
    assert final["pool_preference"] == pytest.approx(table.loc["sft", "pool"])
    assert final["gold_win_rate"] == pytest.approx(table.loc["sft", "gold"])
    again = {stage["label"] for stage in info["stages"] if not stage["reused"]}
    assert not any("selected" in label or label == "sft" for label in again)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("study.methods=[sft,ppo]", "study.trials: all methods need as many"),
        ("study.methods=[sfft]", "study.methods: there is no method sfft. Did you mean sft"),
        ("study.tuning_seeds=[1]", "study.tuning_seeds"),
        ("study.trials={sft: [[]], best_of_n: [['method.m=2']]}", "method.m: there is no such"),
        ("study.trials={sft: [[]], best_of_n: [['seed=2']]}", "seed=2 is no key of the method"),
    ],
)
def test_an_unfair_comparison_does_not_begin(
    override: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(tmp_path, *COMPARISON, override) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


TUNINGS = (
    "study=tunings",
    "model.layers=2",
    "method=dpo",
    "study.seeds=[1]",
    "study.baseline=all",
    "study.variants={all: [], turns: ['tuning=lisa', 'tuning.blocks=1', 'tuning.every=2']}",
    "tuning@start_tuning=full",
)


def test_tunings_begin_from_one_start_and_differ_in_memory(
    tmp_path: Path, ray_session: None
) -> None:
    assert asked(tmp_path, *TUNINGS, "name=tunings") == 0
    folder = tmp_path / "studies" / "tunings"
    costs = pd.read_parquet(folder / "costs.parquet").set_index("variant")
    assert costs.loc["turns", "optimizer_bytes"] < costs.loc["all", "optimizer_bytes"]
    assert costs.loc["turns", "parameter_bytes"] == costs.loc["all", "parameter_bytes"]
    losses = pd.read_parquet(folder / "losses.parquet")
    assert (losses[losses["step"] == 1].groupby("seed")["loss"].nunique() == 1).all()
    assert pd.read_parquet(folder / "policies.parquet")["win_rate"].notna().all()
    assert (folder / "tunings.html").exists()


HARBOUR = "_target_: farm.data.barnyard.harbour_texts.HarbourTexts, logs: 0.5, bad: 0.0"
STABILITY = (
    "study=stability",
    "data=harbour",
    "data.world.sft=256",
    "data.world.preference=64",
    "data.world.unlabeled=0",
    "data.world.validation=24",
    "data.world.evaluation=0",
    "data.world.held_out=0",
    "method=continual_pretraining",
    f"method.text={{{HARBOUR}, documents: 60, draw: domain}}",
    "method.epochs=null",
    "method.max_steps=4",
    "method.checkpoint_every=2",
    "study.seeds=[1]",
    "study.baseline=all",
    f"study.texts={{{HARBOUR}, documents: 5, draw: held out}}",
    "study.variants={all: [], both: ['method.corpus._target_=methods.corpora.FixedMixture']}",
)


def test_skills_are_measured_at_the_start_and_at_every_checkpoint(
    tmp_path: Path, ray_session: None
) -> None:
    assert asked(tmp_path, *STABILITY, "name=gap") == 0
    folder = tmp_path / "studies" / "gap"
    skills = pd.read_parquet(folder / "skills.parquet")
    assert set(skills["step"]) == {0, 2, 4}
    assert set(skills["source"]) == {"barnyard", "harbour"}
    assert skills["score"].between(0, 1).all()  # shares of right answers, no utilities
    at_start = skills[skills["step"] == 0].groupby("source")["score"]
    assert (at_start.nunique() == 1).all()  # one start for both variants
    readings = pd.read_parquet(folder / "readings.parquet").set_index(["variant", "step"])
    assert (readings.loc[pd.IndexSlice[:, 0], ["bottom_update", "top_update"]] == 0).all().all()
    for variant in ("all", "both"):
        losses, moved = (readings.loc[variant, name] for name in ("text_loss", "bottom_update"))
        assert losses[4] < losses[0] and moved[4] > moved[2] > 0
    assert (folder / "stability.html").exists()
