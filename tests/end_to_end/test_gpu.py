"""The main job on a GPU, with a model of the size that its memory is for."""

import json
from pathlib import Path

import pytest
import torch
from benchmarks.qwen_shaped import HALF_BILLION, qwen_shaped

from farm.config import build, compose, plain
from farm.learning import source_node
from farm.memory import Shape
from farm.models.load import save_policy
from farm.models.tokenizers import WordLevel

from .conftest import SMOKE, Start, run_folders

LIMITS = ("model.max_prompt_tokens=64", "model.max_new_tokens=32")
GENTLE = ("sft.learning_rate=1e-4", "reward.learning_rate=1e-5", "method.learning_rate=1e-5")
"""Of the order that half a billion parameters ask for."""


def policy_of(shape: Shape, folder: Path) -> Path:
    """Random weights, and a tokenizer that knows the barnyard's words: fewer than the model has
    outputs."""
    data = build(source_node(plain(compose(list(SMOKE))))).load()
    texts = [
        text
        for row in data["sft"]
        for text in (*(message.content for message in row.messages), row.demonstration or "")
    ]
    tokenizer = WordLevel().train(texts)
    model = qwen_shaped(
        shape,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    save_policy(model, tokenizer, folder)
    return folder


def run_main_job(start: Start, shape: Shape, root: Path, *overrides: str) -> Path:
    """The folder of the finished run."""
    path = policy_of(shape, root / "model")
    process = start(
        root / "runs", "model=pretrained", f"model.path={path}", *LIMITS, *GENTLE,
        "sampler.device=null", *overrides,
    )  # fmt: skip
    printed, _ = process.communicate(timeout=840)
    assert process.returncode == 0, printed
    (folder,) = run_folders(root / "runs")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")
def test_the_main_job_runs_on_a_gpu(start: Start, tmp_path: Path) -> None:
    folder = run_main_job(start, HALF_BILLION, tmp_path, "cluster=one_gpu")
    assert json.loads((folder / "run.json").read_text())["status"] == "finished"
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    learned = [line for line in lines if line["stage"] == "ppo"]
    assert len(learned) == 4
    # Decoded in float32, learned under bfloat16 autocast: the two are not the same.
    assert all(0 < line["engine_gap"] < 0.5 for line in learned)
