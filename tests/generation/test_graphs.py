"""The loop of a GPU against the plain one: its bookkeeping and, where there is one, its graphs."""

from collections.abc import Callable

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from farm.generation import decode as loop
from farm.generation.batch import Batch
from farm.generation.drawing import Rollouts
from farm.generation.graphs import GraphedBatch
from farm.seeds import derive, generator, seed_libraries
from farm.training.compute import metered, metering

PAD, VOCABULARY, NEW = 0, 30, 24
STOP = [1, 7]


class UncapturedBatch(GraphedBatch):
    """Steps run one kernel at a time, also where there is no GPU."""

    def captured(self, step: Callable[[], None]) -> Callable[[], None]:
        return step


@pytest.fixture(scope="module")
def model():
    seed_libraries(0, "test_graphs")
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = LlamaConfig(vocab_size=VOCABULARY, **shape, **heads, initializer_range=0.3)
    return metered(LlamaForCausalLM(config).eval())


def answers(model, kind: type[Batch], monkeypatch: pytest.MonkeyPatch, **how) -> Rollouts:
    """Of 41 prompts, some of them twice."""
    rng = generator(0, "test_graphs")
    prompts = [rng.integers(2, VOCABULARY, rng.integers(1, 15)).tolist() for _ in range(30)]
    monkeypatch.setattr(loop, "Batch", kind)
    monkeypatch.setattr(loop, "GraphedBatch", kind)
    keywords = {"temperature": 1.0, "stop_ids": STOP, "batch_size": 64, "max_new_tokens": NEW}
    return loop.decode(
        model, [*prompts, *prompts[:11]], pad_id=PAD,
        row_seeds=[derive(0, "row", row) for row in range(41)], **(keywords | how),
    )  # fmt: skip


def same(some: Rollouts, other: Rollouts) -> None:
    assert some.responses() == other.responses()
    assert some.stopped_B.tolist() == other.stopped_B.tolist()
    assert some.tokens_B_T.tolist() == other.tokens_B_T.tolist()
    torch.testing.assert_close(some.logprobs_B_T, other.logprobs_B_T, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"temperature": 0.0},
        {"batch_size": 7},
        {"stop_ids": [VOCABULARY]},
        {"stop_ids": list(range(2, 25)), "max_new_tokens": 1},
        {"max_new_tokens": 130},
    ],
    ids=["drawn", "greedy", "small-batches", "no-stop", "one-token", "several-stretches"],
)
def test_fixed_places_hold_what_growing_ones_do(model, monkeypatch, how) -> None:
    same(
        answers(model, UncapturedBatch, monkeypatch, **how),
        answers(model, Batch, monkeypatch, **how),
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")
@pytest.mark.parametrize("how", [{}, {"stop_ids": [VOCABULARY], "max_new_tokens": 130}])
def test_graphs_replay_the_steps(model, monkeypatch, tmp_path, how) -> None:
    model = model.to("cuda")
    operations = []
    for kind in (GraphedBatch, UncapturedBatch, Batch):
        work = tmp_path / kind.__name__
        work.mkdir()
        with metering(work) as meter:
            found = answers(model, kind, monkeypatch, **how)
            operations.append(meter.spent["flops"])
        same(found, answers(model, Batch, monkeypatch, **how))
    assert operations[0] == operations[1]
