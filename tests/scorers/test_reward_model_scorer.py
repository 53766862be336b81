"""Scores do not depend on batching, and are those of transformers on one unpadded row."""

from pathlib import Path

import numpy as np
import pytest
import toy_policy as toy

from farm.scorers.reward_model import RewardModelScorer
from farm.seeds import seed_libraries


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    from farm.models.load import load_reward_model, load_tokenizer, save_policy

    folder: Path = tmp_path_factory.mktemp("reward")
    start = toy.starting_policy(folder / "start")
    seed_libraries(0, "head")
    model = load_reward_model(start.path)
    save_policy(model, load_tokenizer(start.path), folder / "model")
    return str(folder / "model")


def test_scores_are_those_of_single_rows(path: str) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    asked = toy.instructions(20)
    texts = [(i.demonstration or "")[: 4 * n] for n, i in enumerate(asked)]  # of many lengths
    scores = RewardModelScorer(path, **toy.LIMITS, tokens_per_batch=40).score(asked, texts)
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForSequenceClassification.from_pretrained(path)
    for instruction, text, score in zip(asked, texts, scores, strict=True):
        prompt = instruction.messages[0].content
        row = tokenizer(f"<user>{prompt}<end><assistant>{text}<end>", return_tensors="pt")
        with torch.no_grad():
            alone = model(input_ids=row["input_ids"]).logits.item()
        assert score == pytest.approx(alone, abs=1e-5)
    assert np.std(scores) > 1e-3


def test_no_answers_no_scores(path: str) -> None:
    assert RewardModelScorer(path, **toy.LIMITS).score([], []).shape == (0,)
