"""Winners alone, and both answers behind tokens that say which won: what is learned, what is
remembered of it, and how it is decoded."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import toy_policy as toy

from farm.artifacts import Store
from farm.errors import DataError
from farm.generation.sampler import FarmSampler, IdSampler, draw_one
from farm.models import chat
from farm.models.load import load_policy, load_tokenizer
from farm.stages import policy as stage
from farm.stages.job import CHECKPOINT_STAGE, Job
from farm.stages.pointers import policy_ref
from farm.types import Completion, Decoding, Inputs, Instruction, PolicyRef
from methods.binary_feedme import BinaryFeedME
from methods.binary_reward_conditioning import LOSER, WINNER, BinaryRewardConditioning

SHORT = {**toy.LIMITS, "learning_rate": 1e-2, "batch_size": 32, "epochs": None, "max_steps": 150}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> PolicyRef:
    return toy.starting_policy(tmp_path_factory.mktemp("start") / "model")


@pytest.fixture(scope="module")
def conditioned(start: PolicyRef, tmp_path_factory: pytest.TempPathFactory) -> PolicyRef:
    """A policy that repeats behind the winner's token, and reverses behind the loser's."""
    work = tmp_path_factory.mktemp("conditioned")
    inputs = Inputs(judgments=toy.labelled(toy.instructions(1000)))
    longer = {**SHORT, "max_steps": 300}
    return BinaryRewardConditioning(**longer).fit(start, inputs, toy.context(work))


def answered(policy: PolicyRef, asked: list[Instruction]) -> list[str]:
    """Greedy answers."""
    greedy = replace(policy, decoding=replace(policy.decoding, temperature=0.0))
    sampler = FarmSampler(greedy, 16, toy.LIMITS["max_prompt_tokens"], "cpu")
    return [completion.text for completion in sampler.sample(asked, n=1, seed=0)]


def share(answers: list[str], right: list[str]) -> float:
    return sum(a == r for a, r in zip(answers, right, strict=True)) / len(right)


UNSEEN = [
    instruction
    for instruction in toy.instructions(80, seed=1)
    if (words := (instruction.demonstration or "").split()) != words[::-1]
]
REPEATED = [instruction.demonstration or "" for instruction in UNSEEN]
REVERSED = [" ".join(reversed(text.split())) for text in REPEATED]


def test_feedme_answers_as_winners_do(start: PolicyRef, tmp_path: Path) -> None:
    inputs = Inputs(judgments=toy.labelled(toy.instructions(1000)))
    policy = BinaryFeedME(**SHORT).fit(start, inputs, toy.context(tmp_path))
    assert policy.decoding == start.decoding
    assert share(answered(policy, UNSEEN), REPEATED) > 0.8


@pytest.mark.parametrize("method", [BinaryFeedME, BinaryRewardConditioning])
def test_soft_labels_lean_and_ties_give_no_row(
    method: type[BinaryFeedME | BinaryRewardConditioning], start: PolicyRef, tmp_path: Path
) -> None:
    (asked,) = toy.instructions(1)
    labels = [
        toy.label(asked, "hay", "oats", preference=preference)
        for preference in (0.9, 0.2, 0.5, None)
    ]
    shown: list[tuple[str, bool]] = []

    class Looks(method):  # type: ignore[valid-type, misc]
        def learn(self, model, tokenizer, examples, context, save):  # type: ignore[no-untyped-def]
            for example in examples:
                words = [tokenizer.decode(id) for id in example.input_ids]
                shown.append((words[-2], LOSER in words))
            save(model, context.work / "policy")

    Looks(**SHORT).fit(start, Inputs(judgments=labels), toy.context(tmp_path))
    losers = [("hay", True), ("oats", True)] if method is BinaryRewardConditioning else []
    assert shown == [("oats", False), ("hay", False), *losers]
    counts = json.loads((tmp_path / "labels.json").read_text())
    assert counts["ties"] == 1 and counts["no_verdicts_dropped"] == 1
    with pytest.raises(DataError, match="none of the 2 judgments"):
        method(**SHORT).fit(start, Inputs(judgments=labels[2:]), toy.context(tmp_path / "none"))


def test_the_control_token_chooses_whose_answers_are_given(conditioned: PolicyRef) -> None:
    assert conditioned.decoding.control == WINNER
    assert share(answered(conditioned, UNSEEN), REPEATED) > 0.8
    loser = replace(conditioned, decoding=replace(conditioned.decoding, control=LOSER))
    assert share(answered(loser, UNSEEN), REVERSED) > 0.8


def test_the_tokens_are_new_and_never_come_out_of_data(
    start: PolicyRef, conditioned: PolicyRef
) -> None:
    before, after = load_tokenizer(start.path), load_tokenizer(conditioned.path)
    ids = after.convert_tokens_to_ids([WINNER, LOSER])
    assert ids == [len(before), len(before) + 1]
    model = load_policy(conditioned.path, "cpu")
    assert model.get_input_embeddings().num_embeddings == len(after)
    assert not set(ids) & set(chat.response_ids(after, f"hay {WINNER} {LOSER}"))
    assert chat.decode(after, [*ids, *chat.response_ids(after, "hay")]) == "hay"
    kept = ("chat_template", "pad_token_id", "eos_token_id", "unk_token_id")
    assert all(getattr(before, name) == getattr(after, name) for name in kept)
    assert chat.stop_ids(before) == chat.stop_ids(after)


class TextSampler:
    """A sampler that does not say which ids it drew."""

    def __init__(self, sampler: FarmSampler) -> None:
        self._sampler = sampler

    def sample(self, instructions: list[Instruction], *, n: int, seed: int) -> list[Completion]:
        return self._sampler.sample(instructions, n=n, seed=seed)


def test_all_that_draws_puts_it_in_front(conditioned: PolicyRef) -> None:
    tokenizer = load_tokenizer(conditioned.path)
    bare = chat.prompts_ids(tokenizer, [i.messages for i in UNSEEN])
    control = tokenizer.convert_tokens_to_ids(WINNER)
    for limit in (12, 4):
        sampler = FarmSampler(conditioned, 16, limit, "cpu")
        for made in (sampler, TextSampler(sampler)):
            drawn = draw_one(made, conditioned, UNSEEN, max_prompt_tokens=limit, seed=0)  # type: ignore[arg-type]
            assert drawn.prompts == [[control, *ids[-(limit - 1) :]] for ids in bare]
    assert isinstance(sampler, IdSampler)


def test_its_artefact_and_checkpoints_remember_it(
    start: PolicyRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the stage publishes decodes behind it, whatever the decoding of a configuration."""
    few = {"epochs": None, "max_steps": 2, "batch_size": 4, "checkpoint_every": 1}
    target = "methods.binary_reward_conditioning.BinaryRewardConditioning"
    config = {
        "learner": {"_target_": target, **toy.LIMITS, **few},
        "tuning": {"_target_": "farm.training.tuning.Full"},
        "decoding": {"temperature": 1.0, "max_new_tokens": 6},
    }
    monkeypatch.setattr(stage, "_judgments", lambda job: toy.labelled(toy.instructions(8)))
    store = Store(tmp_path / "store")
    with store.building("policy", "key", lambda: None) as build:
        job = Job(
            "farm.stages.policy:run", "policy", "key", build.work, build.token, store,
            config, {"start": Path(start.path)}, seed=3,
        )  # fmt: skip
        results = stage.run(job)
        learned = build.publish({"stage": "policy", "key": "key", "results": results})
    folders = [
        store.root / CHECKPOINT_STAGE / one["key"] for one in results["checkpoints"].values()
    ]
    assert len(folders) == 2
    for folder in (learned.path, *folders):
        found = policy_ref(folder, {"temperature": 0.3, "max_new_tokens": 5})
        assert found.decoding == Decoding(0.3, 5, control=WINNER)
        assert not found.plain
        assert WINNER in load_tokenizer(found.path).get_vocab()


def test_it_continues_after_a_kill(start: PolicyRef, tmp_path: Path) -> None:
    inputs = Inputs(judgments=toy.labelled(toy.instructions(40)))
    whole, broken = toy.context(tmp_path / "whole"), toy.context(tmp_path / "broken")
    method = BinaryRewardConditioning(**{**SHORT, "max_steps": 9}, resume_every=4)
    method.fit(start, inputs, whole)
    toy.interrupt_at(broken, 7)
    with pytest.raises(toy.Interrupted):
        method.fit(start, inputs, broken)
    method.fit(start, inputs, broken)
    assert toy.same_weights(tmp_path / "whole/policy", tmp_path / "broken/policy")
