"""Operations are counted exactly, wherever a pass begins and whatever becomes of the call."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_policy import LIMITS, Interrupted, instructions, starting_policy

from farm.models.fresh import FreshLlama
from farm.models.load import load_policy, load_reward_model
from farm.models.tokenizers import WordLevel
from farm.training import compute
from farm.training.answer_scores import answer_scores
from farm.training.compute import metering

WIDTH, FEED_FORWARD, LAYERS = 32, 64, 2  # of toy_policy
TRUNK = LAYERS * (4 * WIDTH**2 + 3 * WIDTH * FEED_FORWARD)
ROWS, TOKENS = 3, 5
IDS = torch.ones(ROWS, TOKENS, dtype=torch.long)
PASS = 2 * ROWS * TOKENS
"""Operations of a pass over `IDS`, for each weight."""


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    return starting_policy(tmp_path_factory.mktemp("start")).path


@pytest.fixture
def model(start: str) -> Any:
    return load_policy(start, "cpu")


def weights_of(model: Any) -> int:
    """Of the trunk's linear layers and the output layer, from its sizes."""
    return TRUNK + WIDTH * model.config.vocab_size


def test_reading_counts_two_operations_for_each_weight_and_token(
    model: Any, tmp_path: Path
) -> None:
    with metering(tmp_path) as meter, torch.inference_mode():
        model(input_ids=IDS)
        model(IDS[:1, :2])
    assert meter.spent["flops"] == (PASS + 2 * 2) * weights_of(model)


def test_learning_counts_three_times_as_many(model: Any, tmp_path: Path) -> None:
    with metering(tmp_path) as meter:
        model(input_ids=IDS).logits.sum().backward()
    assert meter.spent["flops"] == 3 * PASS * weights_of(model)


def test_weights_that_do_not_learn_have_no_gradients(model: Any, tmp_path: Path) -> None:
    everything, head = weights_of(model), WIDTH * model.config.vocab_size
    model.requires_grad_(False)
    with metering(tmp_path) as meter:
        model(input_ids=IDS)
        assert meter.spent["flops"] == (frozen := PASS * everything)
        model.get_output_embeddings().requires_grad_(True)
        model(input_ids=IDS)
    assert meter.spent["flops"] == frozen + PASS * (2 * everything + head)


def test_tied_output_layers_count(tmp_path: Path) -> None:
    source = FreshLlama(
        tokenizer=WordLevel(), hidden_size=WIDTH, layers=LAYERS, heads=2,
        intermediate_size=FEED_FORWARD, tie_embeddings=True, **LIMITS,
    )  # fmt: skip
    model = load_policy(source.build(instructions(64), tmp_path, seed=0), "cpu")
    with metering(tmp_path) as meter, torch.no_grad():
        model(input_ids=IDS)
    assert meter.spent["flops"] == PASS * weights_of(model)


def test_reward_models_count_though_their_trunk_is_called_alone(start: str, tmp_path: Path) -> None:
    model = load_reward_model(start, "cpu")
    with metering(tmp_path) as meter:
        answer_scores(model, [[1, 2, 3], [1, 2]])
    assert meter.spent["flops"] == 3 * 2 * 5 * (TRUNK + WIDTH), "packed: no padding"


def test_nothing_counts_outside(model: Any, tmp_path: Path) -> None:
    with metering(tmp_path) as meter:
        pass
    model(input_ids=IDS)
    assert meter.spent["flops"] == 0


def test_what_interrupted_calls_spent_adds_up(model: Any, tmp_path: Path) -> None:
    with pytest.raises(Interrupted), metering(tmp_path) as first:
        model(input_ids=IDS)
        raise Interrupted
    with metering(tmp_path) as second:
        model(input_ids=IDS)
    assert second.spent["flops"] == 2 * first.spent["flops"] == 6 * PASS * weights_of(model)
    assert second.spent["wall_s"] > first.spent["wall_s"] - 0.1


def test_what_was_spent_is_written_while_it_is(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute, "_SAVE_EVERY_S", 0.0)
    with metering(tmp_path) as meter:
        model(input_ids=IDS)
        (written,) = (json.loads(path.read_text()) for path in tmp_path.iterdir())
        assert written["flops"] == meter.spent["flops"] > 0
