"""Runs on a file of one's own, with a model, a reward and an opponent of one's own."""

import json
from pathlib import Path

import pytest

from .conftest import Finished, Run

SMALL_MODEL = [
    "model=tiny_bpe", "model.hidden_size=32", "model.layers=1", "model.heads=2",
    "model.max_new_tokens=16",
]  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sums in Alpaca's schema; every second has an answer that exact match knows."""
    path = tmp_path_factory.mktemp("data") / "sums.jsonl"
    sums = [(a, b) for a in range(16) for b in range(16)]
    path.write_text(
        "".join(
            json.dumps(
                {
                    "instruction": "Add the numbers.",
                    "input": f"{a} and {b}",
                    "output": f"{a} + {b}" + (f" #### {a + b}" if b % 2 else ""),
                }
            )
            + "\n"
            for a, b in sums
        )
    )
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own") / "runs"


@pytest.fixture(scope="module")
def against_demonstrations(run_here: Run, runs: Path, rows: Path) -> Finished:
    """DPO whose opponent is a file: the demonstrations themselves."""
    return run_here(
        runs, "method=dpo", "data=files", f"data.path={rows}", "data.gold=gsm8k_exact_match",
        *SMALL_MODEL, "annotators=demonstration_overlap", "evaluators=none",
        f"evaluation.reference={rows}",
    )  # fmt: skip


def test_nobody_resembles_the_demonstrations_more_than_they_do(
    against_demonstrations: Finished, rows: Path
) -> None:
    final = against_demonstrations.table("final").set_index("role")
    assert against_demonstrations.info["reference"]["path"] == str(rows)
    assert "reference" not in final.index
    assert (final["pool_preference"] < 50).all()
    assert (final["gold_win_rate"] <= 50).all()
    assert final.loc["selected", "gold_utility"] == pytest.approx(0, abs=0.3)


def test_a_run_without_held_out_judges_says_so(against_demonstrations: Finished) -> None:
    assert against_demonstrations.table("curve")["held_out_win_rate"].isna().all()
    (warning,) = against_demonstrations.info["warnings"]
    assert "evaluators=none" in warning
    assert warning.split(":")[0] in (against_demonstrations.path / "report.html").read_text()


def test_a_policy_directory_is_model_start_and_opponent_and_a_function_the_reward(
    against_demonstrations: Finished, run_here: Run, runs: Path, rows: Path
) -> None:
    stages = against_demonstrations.info["stages"]
    (sft,) = {stage["key"] for stage in stages if stage["label"] == "sft"}
    policy = runs / "store" / "policy" / sft / "policy"
    run = run_here(
        runs, "method=ppo", "data=files", f"data.path={rows}", "model=pretrained",
        f"model.path={policy}", "model.max_prompt_tokens=128", "model.max_new_tokens=16",
        "start=instruct",
        "annotators=demonstration_overlap", "evaluators=none", "reward=callable",
        "reward.function=jobs_for_tests:digits", f"evaluation.reference={policy}",
    )  # fmt: skip
    curve = run.table("curve").set_index("step")
    assert curve.loc[0, "pool_preference"] == 50  # the same policy, decoded the same way
    assert curve.loc[0, "proxy_reward"] == pytest.approx(
        run.table("curve_items").query("step == 0")["output"].str.count(r"\d").mean()
    )
    assert run.info["labels"] == 0
    assert not {"sft", "judgments", "reward"} & run.stages(reused=False)
    assert run.info["reference"]["path"] == str(policy)
