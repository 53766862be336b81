"""Speculative sampling against exact laws, plain decoding and its own books."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy_policy as toy
from scipy.stats import chisquare

from farm.errors import ConfigError
from farm.generation.best_of import BestOfSampler, sampler_of
from farm.generation.decode import decode
from farm.generation.moved import Asked
from farm.generation.speculative import Proposer, Speculated, speculate
from farm.generation.stop_rules import (
    Entropy,
    FixedLength,
    MaxProbability,
    StopRule,
    TrainedHead,
)
from farm.models import chat
from farm.models.acceptance import AcceptanceHead, load_head, save_head
from farm.models.load import load_draft, load_policy, load_tokenizer
from farm.models.shallow import first_blocks
from farm.protocols import FloatArray
from farm.types import BestOf, Decoding, PolicyRef, Speculation

ASKED = toy.instructions(12)
SHARP = 3.0
"""Fresh models are nearly uniform; scaled output layers make them disagree."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy, a draft that is another random model, and a head with random weights."""
    folder = tmp_path_factory.mktemp("speculative")
    for name, seed in (("policy", 0), ("draft", 1)):
        path = Path(toy.starting_policy(folder / name, seed=seed).path)
        model = load_policy(path, "cpu")
        with torch.no_grad():
            model.lm_head.weight *= SHARP
        model.save_pretrained(path)
    head = AcceptanceHead(32, 2)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in head.parameters():
            weights += torch.randn(weights.shape, generator=generator)
    save_head(head, folder / "head")
    return folder


@pytest.fixture(scope="module")
def models(folder: Path) -> tuple[Any, Any]:
    return load_policy(folder / "policy", "cpu"), load_policy(folder / "draft", "cpu")


def rules(folder: Path) -> dict[str, StopRule]:
    return {
        "one": FixedLength(max_tokens=1),
        "three": FixedLength(max_tokens=3),
        "max_probability": MaxProbability(threshold=0.6, max_tokens=4),
        "entropy": Entropy(threshold=1.8, max_tokens=4),
        "head": TrainedHead(head=str(folder / "head"), threshold=0.6, max_tokens=4),
    }


RULES = ("one", "three", "max_probability", "entropy", "head")


def prompts(folder: Path) -> list[list[int]]:
    return chat.prompts_ids(load_tokenizer(folder / "policy"), [i.messages for i in ASKED])


def how(folder: Path, **changed: Any) -> dict[str, Any]:
    tokenizer = load_tokenizer(folder / "policy")
    return {
        "max_new_tokens": 6,
        "temperature": 1.0,
        "stop_ids": chat.stop_ids(tokenizer),
        "pad_id": tokenizer.pad_token_id,
        "batch_size": 8,
        **changed,
    }


def answer(
    models: tuple[Any, Any], rule: StopRule, asked: list[list[int]], **keywords: Any
) -> Speculated:
    policy, draft = models
    return speculate(
        policy, Proposer(draft, rule), Asked(asked, list(range(len(asked)))), **keywords
    )


@pytest.mark.parametrize("name", RULES)
def test_greedy_answers_are_those_of_plain_decoding(
    name: str, folder: Path, models: tuple[Any, Any]
) -> None:
    asked, keywords = prompts(folder), how(folder, temperature=0)
    plain = decode(models[0], asked, row_seeds=range(len(asked)), **keywords)
    found = answer(models, rules(folder)[name], asked, **keywords).rollouts
    assert found.responses() == plain.responses()
    assert found.stopped_B.equal(plain.stopped_B)
    torch.testing.assert_close(found.logprobs_B_T, plain.logprobs_B_T, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "temperature"), [*((name, 1.0) for name in RULES), ("head", 0.7)])
def test_answers_follow_the_policys_own_law(
    name: str, temperature: float, folder: Path, models: tuple[Any, Any]
) -> None:
    """All answers of up to two tokens and the beginnings of longer ones, by chi-square against
    their exact probabilities; thresholds let rounds of every length occur."""
    prompt = prompts(folder)[0]
    keywords = how(folder, temperature=temperature, max_new_tokens=3, batch_size=4000)
    found = answer(models, rules(folder)[name], [prompt] * 4000, **keywords)
    drawn = Counter(tuple(ids[:2]) for ids in found.rollouts.responses())
    exact = two_token_law(models[0], prompt, temperature, set(keywords["stop_ids"]))
    assert drawn.keys() <= exact.keys()
    likely = [key for key, p in exact.items() if 4000 * p >= 5]
    seen = np.array([drawn[key] for key in likely])
    meant = 4000 * np.array([exact[key] for key in likely])
    rest = 4000 - seen.sum(), max(4000 - meant.sum(), 1e-9)
    test = chisquare([*seen, rest[0]], np.array([*meant, rest[1]]) * 4000 / (meant.sum() + rest[1]))
    assert test.pvalue > 1e-3
    assert 0 < int(found.discarded_B.sum()) < int(found.drafted_B.sum())


def two_token_law(
    model: Any, prompt: list[int], temperature: float, stops: set[int]
) -> dict[tuple[int, ...], float]:
    """By plain forward passes."""
    with torch.inference_mode():
        first_V = (model(torch.tensor([prompt])).logits[0, -1] / temperature).softmax(-1)
        behind = torch.tensor([[*prompt, token] for token in range(len(first_V))])
        second_V_V = (model(behind).logits[:, -1] / temperature).softmax(-1)
    law: dict[tuple[int, ...], float] = {}
    for one, p in enumerate(first_V.double().tolist()):
        if one in stops:
            law[(one,)] = p
        else:
            law |= {(one, two): p * q for two, q in enumerate(second_V_V[one].double().tolist())}
    return law


@pytest.mark.parametrize("name", RULES)
def test_batches_change_nothing(name: str, folder: Path, models: tuple[Any, Any]) -> None:
    asked = prompts(folder)
    one, *others = (
        answer(models, rules(folder)[name], asked, **how(folder, batch_size=size))
        for size in (1, 5, len(asked))
    )
    for other in others:
        assert other.rollouts.responses() == one.rollouts.responses()
        for count in ("drafted_B", "discarded_B", "rejected_B", "verified_B"):
            assert getattr(other, count).equal(getattr(one, count))


@pytest.mark.parametrize("name", RULES)
def test_the_books_balance(name: str, folder: Path, models: tuple[Any, Any]) -> None:
    """N_draft = N + N_discard - N_target, and one more for a stop id that the draft proposed."""
    rule = rules(folder)[name]
    found = answer(models, rule, prompts(folder), **how(folder))
    generated_B = found.rollouts.mask_B_T.sum(1)
    surplus_B = found.drafted_B - (generated_B + found.discarded_B - found.verified_B)
    assert set(surplus_B.tolist()) <= {0, 1}
    assert found.rollouts.stopped_B[surplus_B == 1].all()
    assert (found.rejected_B <= found.discarded_B).all()
    assert (found.drafted_B <= rule.max_tokens * found.verified_B).all()
    tested = torch.cat(found.tested, dim=1)
    assert int((tested[2] == 0).sum()) == int(found.rejected_B.sum())
    assert int(tested[2].sum()) == int((found.drafted_B - found.discarded_B).sum())


def test_a_draft_that_is_the_policy_is_never_rejected(
    folder: Path, models: tuple[Any, Any]
) -> None:
    policy, _ = models
    found = answer((policy, policy), FixedLength(max_tokens=5), prompts(folder), **how(folder))
    assert int(found.discarded_B.sum()) == 0
    assert (found.verified_B == 1).all()


def test_heads_are_asked_about_the_token_that_the_draft_has_just_read(folder: Path) -> None:
    """The estimate of a round's i-th token is the head's on the draft's hidden state there; of the
    newest token there is none."""
    draft, head = load_policy(folder / "draft", "cpu"), load_head(folder / "head")
    rule = TrainedHead(head=str(folder / "head"), threshold=1.0, max_tokens=5)
    prompt = prompts(folder)[0]
    found = answer((draft, draft), rule, [prompt], **how(folder))  # accepts all in one round
    (estimates,), ids = (tested[0] for tested in found.tested), found.rollouts.responses()[0]
    proposed = int(found.drafted_B)
    assert proposed > 1
    with torch.inference_mode():
        hidden = draft.model(torch.tensor([[*prompt, *ids]])).last_hidden_state[0, len(prompt) :]
    torch.testing.assert_close(estimates[:-1], head(hidden[: proposed - 1]), atol=1e-4, rtol=0)
    assert estimates[-1].isnan()


class _Longest:
    def score(self, instructions: Any, completions: list[str]) -> FloatArray:
        return np.array([float(len(text)) for text in completions])


def test_best_of_n_draws_speculatively(folder: Path) -> None:
    speculation = Speculation(str(folder / "draft"), FixedLength(max_tokens=2))
    policy = PolicyRef(str(folder / "policy"), Decoding(1.0, 6), None, speculation)
    node = {
        "_target_": "farm.generation.sampler.FarmSampler",
        "_partial_": True,
        "batch_size": 64,
        "max_prompt_tokens": 12,
    }
    chooser = sampler_of(
        node, PolicyRef(policy.path, policy.decoding, BestOf(4, 1.0, _Longest()), speculation)
    )
    assert isinstance(chooser, BestOfSampler)
    drawn = sampler_of(node, policy).sample(ASKED, n=4, seed=3)
    groups = [drawn[i : i + 4] for i in range(0, len(drawn), 4)]
    best = [max((c.text for c in group), key=len) for group in groups]
    assert [c.text for c in chooser.sample(ASKED, n=1, seed=3)] == best
    plain = PolicyRef(policy.path, policy.decoding)
    assert [c.text for c in sampler_of(node, plain).sample(ASKED, n=4, seed=3)] != [
        c.text for c in drawn
    ]


class _NoDraft:
    def __init__(self, policy: PolicyRef) -> None:
        self.policy = policy

    def sample(self, *_: Any, **__: Any) -> list[Any]:
        return []


def test_samplers_without_drafts_say_so(folder: Path) -> None:
    speculation = Speculation(str(folder / "draft"), FixedLength())
    policy = PolicyRef(str(folder / "policy"), Decoding(1.0, 6), None, speculation)
    with pytest.raises(ConfigError, match="sampler=farm"):
        sampler_of({"_target_": f"{__name__}._NoDraft", "_partial_": True}, policy)


def test_drafts_must_have_the_policys_tokens(folder: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(folder / "policy")
    other = load_tokenizer(folder / "draft")
    other.add_tokens(["alien"])
    model = load_policy(folder / "draft", "cpu")
    model.save_pretrained(tmp_path / "other")
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(ConfigError, match="not those of the policy"):
        load_draft(tmp_path / "other", tokenizer, "cpu")


def test_shallow_models_compute_their_first_blocks(folder: Path) -> None:
    model, ids = load_policy(folder / "policy", "cpu"), torch.tensor([[1, 2, 3]])
    with torch.inference_mode():
        states = model(ids, output_hidden_states=True).hidden_states
        expected = model.lm_head(model.model.norm(states[1]))
        found = first_blocks(model, 1)(ids).logits
    torch.testing.assert_close(found, expected)
    with pytest.raises(ConfigError, match="only 1"):
        first_blocks(model, 2)


def test_a_head_for_another_draft_is_named(
    folder: Path, models: tuple[Any, Any], tmp_path: Path
) -> None:
    save_head(AcceptanceHead(16, 0), tmp_path / "narrow")
    rule = TrainedHead(head=str(tmp_path / "narrow"), threshold=1.0)
    with pytest.raises(ConfigError, match="a draft of width 32"):
        answer(models, rule, prompts(folder), **how(folder))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: FixedLength(max_tokens=0), "max_tokens"),
        (lambda: MaxProbability(threshold=1.5), "threshold"),
        (lambda: Entropy(threshold=-1.0), "threshold"),
    ],
)
def test_mistakes_are_named(make: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()
