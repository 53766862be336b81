"""Who draws the answers of a policy while it learns: an engine, which the run's sampler makes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from farm.errors import ConfigError
from farm.protocols import Sampler
from farm.types import PolicyRef

if TYPE_CHECKING:
    from farm.context import Context
    from farm.generation.moved import Answer, Asked


class Engine(Protocol):
    """Draws a learner's answers with the weights that its policy has at that moment."""

    def answers(
        self, model: Any, asked: "Asked", how: Mapping[str, Any], context: "Context"
    ) -> "list[Answer]":
        """One answer of `model` to each prompt, the same ones on every rank; all ranks call it.
        Drawn by the context's samplers or, where it has none, by the ranks. `how` are the other
        keywords of `farm.generation.decode.decode`."""
        ...


@runtime_checkable
class LearnersSampler(Protocol):
    """A sampler that can also follow its policy as that learns."""

    def engine(self) -> Engine:
        """What draws the policy's answers meanwhile."""
        ...


@dataclass(frozen=True)
class OwnDecoder:
    """Our decoding loop, on the model that learns or, in a pool, on copies of it."""

    path: str
    """The directory of the policy that the model has begun from."""

    def answers(
        self, model: Any, asked: "Asked", how: Mapping[str, Any], context: "Context"
    ) -> "list[Answer]":
        """As `Engine.answers` says."""
        from farm.generation.moved import MovedPolicy, answers, light

        def here(mine: "Asked") -> "list[Answer]":
            with light(model, self.path, context.tuning) as drawing:
                return answers(drawing, mine, how)

        return shared_answers(
            asked,
            context,
            here,
            lambda: MovedPolicy.of(model, self.path, how).answer,
            how["batch_size"],
        )


Answering = Callable[["Asked"], "list[Answer]"]


def shared_answers(
    asked: "Asked",
    context: "Context",
    here: Answering,
    moved: Callable[[], Answering],
    at_most: int,
) -> "list[Answer]":
    """The prompts shared out among the context's samplers, at most so many at a time to what
    `moved` makes once; where it has none, among the ranks, each of which asks `here`."""
    from farm.generation.moved import Asked, pieces

    ranks, pool = context.ranks, context.samplers

    def by_pool() -> "list[Answer]":
        size = max(1, min(at_most, -(-len(asked.prompts) // pool.size)))
        return list(chain.from_iterable(pool.map(moved(), pieces(asked, size))))

    if pool.size:
        return ranks.once(by_pool)
    return ranks.gather(here(Asked(ranks.share(asked.prompts), ranks.share(asked.row_seeds))))


def own_decoder(start: PolicyRef) -> Engine:
    """Our loop, for what learns from this policy on."""
    return OwnDecoder(start.path)


def engine_of(sampler: Sampler) -> Engine:
    """The sampler's. Raises `ConfigError` where it can only draw from policies that are done."""
    if not isinstance(sampler, LearnersSampler):
        raise ConfigError(
            f"sampler: {type(sampler).__name__} draws from saved policies and cannot follow one "
            "that learns, which this method asks of it. Choose sampler=farm or sampler=vllm, or "
            "give it a method `engine` (farm.generation.engines)."
        )
    return sampler.engine()
