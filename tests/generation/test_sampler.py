"""Samplers from instructions to completions."""

from collections.abc import Callable, Sequence

import pytest
import toy_policy as toy

from farm.errors import ConfigError
from farm.generation.sampler import FarmSampler, draw_one, policy_name
from farm.generation.vllm import VllmSampler
from farm.models import chat
from farm.models.load import load_tokenizer
from farm.protocols import Sampler
from farm.types import Completion, Instruction, PolicyRef


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> PolicyRef:
    return toy.starting_policy(tmp_path_factory.mktemp("policy"))


def sampler(policy: PolicyRef, batch_size: int = 16) -> FarmSampler:
    return FarmSampler(policy, batch_size, toy.LIMITS["max_prompt_tokens"])


def test_completions_depend_on_instruction_sample_and_seed_alone(policy: PolicyRef) -> None:
    asked = toy.instructions(9)
    drawn = sampler(policy).sample(asked, n=3, seed=5)
    assert [(c.instruction_id, c.sample) for c in drawn] == [
        (i.id, sample) for i in asked for sample in range(3)
    ]
    assert len({c.text for c in drawn}) > 20
    assert sampler(policy, batch_size=4).sample(asked[::-1], n=3, seed=5)[-3:] == drawn[:3]
    assert sampler(policy).sample(asked[2:3], n=2, seed=5) == drawn[6:8]
    assert sampler(policy).sample(asked, n=3, seed=6) != drawn


def test_texts_are_clean_and_stopped_is_known(policy: PolicyRef) -> None:
    drawn = sampler(policy).sample(toy.instructions(40), n=1, seed=0)
    assert {c.stopped for c in drawn} == {True, False}
    for completion in drawn:
        assert "<" not in completion.text
        assert len(completion.text.split()) <= toy.LIMITS["max_new_tokens"]


class TextSampler:
    """A sampler that does not say which ids it drew."""

    def __init__(self, policy: PolicyRef) -> None:
        self._sampler = sampler(policy)

    def sample(self, instructions: Sequence[Instruction], *, n: int, seed: int) -> list[Completion]:
        return self._sampler.sample(instructions, n=n, seed=seed)


@pytest.mark.parametrize("made", [sampler, TextSampler])
def test_only_answers_that_stopped_have_an_end_id(
    policy: PolicyRef, made: Callable[[PolicyRef], Sampler]
) -> None:
    asked = toy.instructions(40)
    prompt_limit, limit = toy.LIMITS.values()
    drawn = draw_one(made(policy), policy, asked, max_prompt_tokens=prompt_limit, seed=0)
    completions = sampler(policy).sample(asked, n=1, seed=0)
    tokenizer = load_tokenizer(policy.path)
    assert drawn.stopped == [completion.stopped for completion in completions]
    assert set(drawn.stopped) == {True, False}
    assert drawn.prompts == chat.prompts_ids(tokenizer, [i.messages for i in asked])
    assert chat.decode_batch(tokenizer, drawn.responses) == [c.text for c in completions]
    for ids, stopped in zip(drawn.responses, drawn.stopped, strict=True):
        assert [id in chat.stop_ids(tokenizer) for id in ids] == [False] * len(ids[:-1]) + [stopped]
        assert len(ids) <= limit


def test_ours_draws_up_to_the_limit_where_an_answer_does_not_stop(policy: PolicyRef) -> None:
    drawn = sampler(policy).draw(toy.instructions(40), n=1, seed=0)
    unstopped = [ids for ids, s in zip(drawn.responses, drawn.stopped, strict=True) if not s]
    assert {len(ids) for ids in unstopped} == {toy.LIMITS["max_new_tokens"]}


def test_policies_are_named_by_their_artefact() -> None:
    assert policy_name("runs/store/policy/3fa9/policy") == "3fa9"
    assert policy_name("runs/store/checkpoint/77ab") == "77ab"


def test_wrong_values_name_their_key(policy: PolicyRef) -> None:
    with pytest.raises(ConfigError, match="batch_size=0"):
        sampler(policy, batch_size=0)
    with pytest.raises(ConfigError, match="gpu_memory_utilization"):
        VllmSampler(policy, 12, dtype="auto", gpu_memory_utilization=2.0)
