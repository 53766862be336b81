"""Which parameters learn under each tuning, from which start, in which precision, and that none of
it is lost when a run is interrupted."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import toy_policy as toy
from peft import PeftModel
from safetensors.torch import load_file
from tuned_learners import LEARNERS, Watched, bradley_terry, brief, context, dpo, repeating_policy

from farm.errors import ConfigError
from farm.generation.logprobs import predict, response_batch, token_logprobs
from farm.generation.moved import light
from farm.models.load import load_policy, load_tokenizer
from farm.protocols import Tuning
from farm.training.answer_logprobs import frozen_logprobs
from farm.training.precision import autocast_to, in_bfloat16
from farm.training.preferences import pair_rows
from farm.training.ranks import Alone
from farm.training.tuning import Full, LoRA
from farm.types import Inputs, LabeledPair, PolicyRef

PROMPTS, RESPONSES = [[1, 2, 3], [4, 5, 6, 7], [8]], [[3, 4], [5], [6, 7, 8]]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> PolicyRef:
    return repeating_policy(tmp_path_factory.mktemp("start"))


def prefers(path: str, labels: list[LabeledPair]) -> float:
    """Share of pairs whose preferred answer is the likelier one."""
    model, tokenizer = load_policy(path, "cpu"), load_tokenizer(path)
    rows = pair_rows(tokenizer, labels, **toy.LIMITS)
    a, b = (
        frozen_logprobs(model, rows.prompts, answers, tokens_per_batch=8192)
        for answers in (rows.a, rows.b)
    )
    return float((((b - a) > 0) == (torch.tensor(rows.preferences) > 0.5)).float().mean())


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return predict(model, response_batch(model, PROMPTS, RESPONSES)).logits_N_V


def loss_and_gradients(model: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    batch = response_batch(model, PROMPTS, RESPONSES)
    loss = -token_logprobs(predict(model, batch).logits_N_V, batch.tokens_N).mean()
    loss.backward()
    return loss.detach(), [p.grad for p in model.parameters() if p.grad is not None]


def disturbed(model: Any) -> Any:
    """The model as if its trainable parameters had learned something."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


# -------------------------------------------------------------------------------------- LoRA


def test_lora_learns_in_its_adapters_alone_and_is_published_merged(
    start: PolicyRef, tmp_path: Path
) -> None:
    labels, unseen = brief(600), brief(60, seed=1)
    watched = Watched(LoRA(rank=4, alpha=8))
    policy = dpo().fit(start, Inputs(judgments=labels), context(tmp_path / "dpo", watched))
    assert prefers(policy.path, unseen) > 0.9 > 0.1 > prefers(start.path, unseen)

    model, saved = watched.model, Path(policy.path)
    begun = load_policy(start.path, "cpu")
    frozen = {
        name.replace(".base_layer", ""): parameter
        for name, parameter in model.named_parameters()
        if not parameter.requires_grad
    }
    assert all(parameter.equal(frozen[name]) for name, parameter in begun.named_parameters())
    torch.testing.assert_close(logits(load_policy(saved, "cpu")), logits(model), atol=1e-5, rtol=0)
    onto = PeftModel.from_pretrained(begun, saved / "adapter")
    torch.testing.assert_close(logits(onto), logits(model), atol=1e-5, rtol=0)
    assert toy.weights(saved).keys() == toy.weights(start.path).keys()


def test_a_reward_models_head_learns_beside_the_adapters(start: PolicyRef, tmp_path: Path) -> None:
    watched = Watched(LoRA(rank=4, alpha=8))
    bradley_terry().fit(start, brief(100), context(tmp_path, watched))
    model = watched.model
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    outside = {name for name in learning if ".lora_" not in name}
    assert outside == {"score.weight"}
    assert all(p.abs().max() > 0 for name, p in learning.items() if ".lora_A." not in name)


@pytest.mark.parametrize("name", list(LEARNERS))
def test_lora_continues_after_a_kill(name: str, start: PolicyRef, tmp_path: Path) -> None:
    folder, fit = LEARNERS[name]
    whole = context(tmp_path / "whole", LoRA(rank=4))
    broken = context(tmp_path / "broken", LoRA(rank=4))
    fit(start, whole)
    toy.interrupt_at(broken, 5)
    with pytest.raises(toy.Interrupted):
        fit(start, broken)
    fit(start, broken)
    one, other = tmp_path / "whole" / folder, tmp_path / "broken" / folder
    assert toy.same_weights(one, other) and not toy.same_weights(one, start.path)
    assert (one / "adapter" / "adapter_model.safetensors").read_bytes() == (
        other / "adapter" / "adapter_model.safetensors"
    ).read_bytes()


def test_adapters_are_a_function_of_the_seed(start: PolicyRef) -> None:
    def adapters(seed: int) -> list[torch.Tensor]:
        model = LoRA(rank=4).apply(load_policy(start.path, "cpu"), seed=seed)
        return [p for name, p in model.named_parameters() if ".lora_A." in name]

    once, again, other = adapters(0), adapters(0), adapters(1)
    assert all(a.equal(b) for a, b in zip(once, again, strict=True))
    assert not any(a.equal(b) for a, b in zip(once, other, strict=True))


@pytest.mark.parametrize(
    ("key", "keys"),
    [
        ("rank", {"rank": 0}),
        ("alpha", {"alpha": 0}),
        ("targets", {"targets": []}),
        ("precision", {"precision": "int8"}),
    ],
)
def test_wrong_values_name_their_key(key: str, keys: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=key):
        LoRA(**keys)


# ------------------------------------------------------------------------------------- anchor


@pytest.mark.parametrize("tuning", [Full(), LoRA(rank=4)], ids=["full", "lora"])
def test_the_anchor_stays_the_start_and_leaves_gradients_alone(
    tuning: Tuning, start: PolicyRef
) -> None:
    begun = logits(load_policy(start.path, "cpu"))
    models = [disturbed(tuning.apply(load_policy(start.path, "cpu"), seed=0)) for _ in range(2)]
    expected_loss, expected = loss_and_gradients(models[0])

    model = models[1]
    anchor = tuning.anchor(model, start.path, "cpu", Alone())
    batch = response_batch(model, PROMPTS, RESPONSES)
    loss = -token_logprobs(predict(model, batch).logits_N_V, batch.tokens_N).mean()
    found = anchor.predict(batch).logits_N_V  # between the forward and the backward pass
    loss.backward()

    assert found.equal(begun) and not found.requires_grad
    assert not logits(model).equal(begun)
    assert loss.equal(expected_loss)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(a.equal(b) for a, b in zip(gradients, expected, strict=True))


def test_lora_keeps_no_second_model(start: PolicyRef) -> None:
    model = LoRA(rank=4).apply(load_policy(start.path, "cpu"), seed=0)
    assert (
        LoRA()
        .anchor(model, "nowhere", "cpu", Alone())
        .predict(response_batch(model, PROMPTS, RESPONSES))
    ), "the start's directory is not read"


# -------------------------------------------------------------- memory and precision


@pytest.mark.parametrize("tuning", [Full, LoRA])
def test_gradient_checkpointing_changes_nothing(tuning: Any, start: PolicyRef) -> None:
    (loss, gradients), (expected_loss, expected) = (
        loss_and_gradients(
            disturbed(
                tuning(gradient_checkpointing=checkpointing)
                .apply(load_policy(start.path, "cpu"), seed=0)
                .train()
            )
        )
        for checkpointing in (True, False)
    )
    torch.testing.assert_close(loss, expected_loss, atol=1e-6, rtol=0)
    for found, right in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found, right, atol=1e-6, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler here")
def test_compiled_blocks_compute_the_same(start: PolicyRef) -> None:
    (loss, gradients), (expected_loss, expected) = (
        loss_and_gradients(
            Full(compile=compile).apply(load_policy(start.path, "cpu"), seed=0).train()
        )
        for compile in (True, False)
    )
    torch.testing.assert_close(loss, expected_loss, atol=1e-5, rtol=0)
    for found, right in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found, right, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("tuning", [Full, LoRA])
def test_a_policy_draws_in_the_numbers_that_it_learns_in(tuning: Any, start: PolicyRef) -> None:
    policy = disturbed(tuning(precision="bfloat16").apply(load_policy(start.path, "cpu"), seed=0))
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        for _ in range(2):  # the second time with other weights
            policy.get_output_embeddings().weight.mul_(1.5)
            with light(policy, start.path, tuning(precision="bfloat16")) as drawing:
                assert drawing.dtype == torch.bfloat16
                found = drawing(ids).logits.float()
            torch.testing.assert_close(found, policy(ids).logits, atol=0.1, rtol=0.05)
        with light(policy, start.path, tuning(precision="float32")) as drawing:
            assert drawing is policy


def test_checkpointed_blocks_are_computed_again(start: PolicyRef) -> None:
    model = load_policy(start.path, "cpu").train()
    LoRA(rank=4, gradient_checkpointing=True).apply(model, seed=0)
    calls: list[object] = []
    model.get_decoder().layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(None))
    loss_and_gradients(model)
    assert len(calls) == 2


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in toy.metrics(folder)]


@pytest.mark.parametrize(("name", "tuning"), [("sft", Full), ("dpo", LoRA), ("reward", Full)])
def test_bfloat16_trains_float32_weights(
    name: str, tuning: Any, start: PolicyRef, tmp_path: Path
) -> None:
    folder, fit = LEARNERS[name]
    watched = Watched(tuning(precision="bfloat16"))
    fit(start, context(tmp_path / "bfloat16", watched))
    fit(start, context(tmp_path / "float32", tuning(precision="float32")))
    rough, exact = losses(tmp_path / "bfloat16"), losses(tmp_path / "float32")
    assert rough[-1] < rough[0]
    apart = [abs(a - b) for a, b in zip(rough[:3], exact[:3], strict=True)]
    assert 0 < max(apart) < 0.02, "the products are rounded, and little more"
    assert {p.dtype for p in watched.model.parameters()} == {torch.float32}
    saved = load_file(tmp_path / "bfloat16" / folder / "model.safetensors")
    assert {weight.dtype for weight in saved.values()} == {torch.float32}


def test_autocast_rounds_products_where_it_is_on(start: PolicyRef) -> None:
    model = load_policy(start.path, "cpu")
    exact = logits(model)
    with autocast_to("auto", "cpu"):
        assert logits(model).equal(exact)
    with autocast_to("bfloat16", "cpu"):
        assert logits(model).dtype == torch.bfloat16


@pytest.mark.parametrize("has_it", [True, False])
def test_auto_is_bfloat16_where_the_gpu_computes_in_it(
    has_it: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_it)
    assert in_bfloat16("auto", "cuda") is has_it
    assert not in_bfloat16("float32", "cuda")
    assert not in_bfloat16("auto", "cpu")
    if not has_it:
        with pytest.raises(ConfigError, match=r"tuning\.precision"):
            in_bfloat16("bfloat16", "cuda")
