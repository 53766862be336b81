"""vLLM behind the protocol `Sampler`, for policies too large for our own loop. Not yet run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from farm.checks import require
from farm.generation.engines import shared_answers
from farm.generation.sampler import TokenSampler
from farm.generation.vllm_engine import EngineKeys, VllmEngine, engine_here
from farm.types import PolicyRef

if TYPE_CHECKING:
    from torch import Tensor

    from farm.context import Context
    from farm.generation.moved import Answer, Asked


class VllmSampler(TokenSampler):
    """Draws answers with vLLM (extra `vllm`; needs a GPU), for learners too. Not yet run.

    Every request has its own seed, but vLLM does not promise the same answer for another batch,
    so results may depend on it.
    """

    stage_version: ClassVar[int] = 2
    key_excludes: ClassVar[frozenset[str]] = frozenset({"gpu_memory_utilization"})
    requires: ClassVar[Mapping[str, str]] = {
        "vllm": 'pip install "farm[vllm]" (requirements-vllm.lock has exact versions), or choose '
        "sampler=farm"
    }

    def __init__(
        self,
        policy: PolicyRef,
        max_prompt_tokens: int,
        dtype: str,
        gpu_memory_utilization: float,
    ) -> None:
        right = "above 0 and at most 1"
        require(
            "sampler.gpu_memory_utilization", gpu_memory_utilization, right,
            0 < gpu_memory_utilization <= 1,
        )  # fmt: skip
        self.policy = policy
        self.max_prompt_tokens = max_prompt_tokens
        length = max_prompt_tokens + policy.decoding.max_new_tokens
        self._keys = EngineKeys(policy.path, length, dtype, gpu_memory_utilization)

    def engine(self) -> "VllmRollouts":
        """One that takes the policy's weights before it answers."""
        return VllmRollouts(replace(self._keys, learns=True))

    def _answers(self, asked: "Asked", how: dict[str, Any]) -> "list[Answer]":
        return engine_here(self._keys).answer(asked, how)


@dataclass(frozen=True)
class VllmRollouts:
    """Answers of a policy that learns: by an engine beside each rank, which sleeps while the rank
    updates, or by those of the context's samplers, which get the weights once per update."""

    keys: EngineKeys

    def answers(
        self, model: Any, asked: "Asked", how: Mapping[str, Any], context: "Context"
    ) -> "list[Answer]":
        """As `farm.generation.engines.Engine.answers` says."""

        def here(mine: "Asked") -> "list[Answer]":
            policy = VllmPolicy.of(model, self.keys, how)
            try:
                return policy.answer(mine)
            finally:
                policy.sleep()

        return shared_answers(
            asked,
            context,
            here,
            lambda: VllmPolicy.of(model, self.keys, how).answer,
            len(asked.prompts),
        )


@dataclass(frozen=True)
class VllmPolicy:
    """The policy of a directory with other weights, answered for by the engine of whichever process
    asks. Pickled, it takes its weights along."""

    keys: EngineKeys
    weights: "Mapping[str, Tensor]"
    how: Mapping[str, Any]

    @staticmethod
    def of(model: Any, keys: EngineKeys, how: Mapping[str, Any]) -> "VllmPolicy":
        """What `model` is now; adapters are merged, and what it shares is sent once."""
        from farm.models.adapters import merged_weights

        weights = {}
        places = set()
        for name, weight in merged_weights(model).items():
            if weight.data_ptr() not in places:  # else a tied output layer, which no checkpoint has
                weights[name] = weight.cpu()
            places.add(weight.data_ptr())
        return VllmPolicy(keys, weights, how)

    def answer(self, asked: "Asked") -> "list[Answer]":
        """One answer to each prompt."""
        return self._engine.answer(asked, self.how)

    def sleep(self) -> None:
        """Leave the GPU to others."""
        self._engine.sleep()

    @cached_property
    def _engine(self) -> VllmEngine:
        engine = engine_here(self.keys)
        engine.load(self.weights)
        return engine
