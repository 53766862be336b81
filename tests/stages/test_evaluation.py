"""The divergence from the start is that of the tokens which the policy sampled."""

from pathlib import Path

import numpy as np
import pytest
import torch
import toy_policy as toy

from farm.artifacts import Store
from farm.data.records import write_completions, write_instructions
from farm.generation.sampler import FarmSampler
from farm.models.load import load_policy
from farm.seeds import derive
from farm.stages import evaluation
from farm.stages.job import Job
from farm.stages.pointers import point_to_policy
from farm.types import Completion, Decoding, Instruction, PolicyRef

ASKED = toy.instructions(24)
DIVERGENCES = 20
SAMPLER = {
    "_target_": "farm.generation.sampler.FarmSampler",
    "_partial_": True,
    "batch_size": 8,
    "max_prompt_tokens": toy.LIMITS["max_prompt_tokens"],
    "device": "cpu",
}


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Two untrained policies, which hardly ever end an answer, and answers to compare."""
    write_instructions(ASKED, tmp_path / "validation.parquet")
    answers = [Completion(i.id, "hay", "someone", 0, True) for i in ASKED]
    write_completions(answers, tmp_path / "completions.parquet")
    policies = {name: tmp_path / name for name in ("policy", "start")}
    for seed, folder in enumerate(policies.values()):
        toy.starting_policy(folder, seed=seed)
    return {**policies, **dict.fromkeys(("instructions", "outputs", "reference"), tmp_path)}


def evaluated(folders: dict[str, Path], root: Path) -> list[float]:
    """The column `kl` of an evaluation."""
    config = {
        "annotator": {"_target_": "simulators.overlap.DemonstrationOverlap"},
        "judge": None,
        "gold": None,
        "split": "validation",
        "limit": None,
        "sampler": SAMPLER,
        "decoding": {"temperature": 1.0, "max_new_tokens": toy.LIMITS["max_new_tokens"]},
        "kl_instructions": DIVERGENCES,
    }
    with Store(root / "store").building("evaluation", "key", lambda: None) as build:
        job = Job(
            "farm.stages.evaluation:evaluate", "evaluation", "key", build.work, build.token,
            Store(root), config, folders, seed=3,
        )  # fmt: skip
        evaluation.evaluate(job)
        kl: list[float] = evaluation.load_items(build.work)["kl"].tolist()
    return kl


def exact_kl(folders: dict[str, Path], prompt: list[int], response: list[int]) -> float:
    """KL(policy || start) summed over the answer's tokens, by plain forward passes."""
    ids, first = torch.tensor([prompt + response]), len(prompt) - 1
    with torch.no_grad():
        ours, theirs = (
            load_policy(folders[name], "cpu")(ids).logits[0, first:-1].log_softmax(-1)
            for name in ("policy", "start")
        )
    return float(torch.nn.functional.kl_div(theirs, ours, log_target=True, reduction="sum"))


def sampled(policy: Path, asked: list[Instruction]) -> list[tuple[list[int], list[int], bool]]:
    """Prompt, answer and whether it stopped, of each answer that the evaluation samples."""
    decoding = Decoding(temperature=1.0, max_new_tokens=toy.LIMITS["max_new_tokens"])
    sampler = FarmSampler(PolicyRef(str(policy), decoding), 4, toy.LIMITS["max_prompt_tokens"])
    drawn = sampler.draw(asked, n=1, seed=derive(3, "kl"))
    return list(zip(*drawn, strict=True))


def test_kl_to_start_is_of_the_sampled_tokens(folders: dict[str, Path], tmp_path: Path) -> None:
    rows = sampled(folders["policy"], ASKED[:DIVERGENCES])
    assert sum(not stopped for _, _, stopped in rows) > DIVERGENCES / 2
    found = evaluated(folders, tmp_path)
    expected = [exact_kl(folders, prompt, response) for prompt, response, _ in rows]
    assert found[:DIVERGENCES] == pytest.approx(expected, abs=1e-4)
    assert min(expected) > 0.01
    assert found[DIVERGENCES:] == pytest.approx([float("nan")] * 4, nan_ok=True)


def test_a_policy_that_reads_more_than_the_prompt_has_no_kl_to_start(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = folders["policy"]
    point_to_policy(folder, str(folder), control="goat")
    assert np.isnan(evaluated(folders, tmp_path)).all()
