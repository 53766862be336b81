"""A policy that learns somewhere else, answering here."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from farm.generation.decode import decode
from farm.generation.drawing import Rollouts
from farm.models.adapters import merged_weights
from farm.models.blocks import fuse_small_operations
from farm.models.load import best_device, load_policy
from farm.protocols import Tuning
from farm.training.precision import in_bfloat16


class Asked(NamedTuple):
    """Some prompts (token ids), and the seed of each answer."""

    prompts: list[list[int]]
    row_seeds: list[int]


class Answer(NamedTuple):
    """What was drawn for one prompt."""

    ids: list[int]
    """The stop id included."""
    logprobs: list[float]
    """Of the ids, under the distribution that they were drawn from, nats."""
    stopped: bool
    """Whether there is a stop id; else the answer ran into the limit."""


@dataclass(frozen=True)
class MovedPolicy:
    """The policy of a directory with other weights. Pickled, it takes its weights along; the
    directory must be readable where it answers."""

    path: str
    weights: Mapping[str, Tensor]
    how: Mapping[str, Any]
    """The other keywords of `farm.generation.decode.decode`."""
    dtype: Any
    """torch's, of the weights."""

    @staticmethod
    def of(model: Any, path: str, how: Mapping[str, Any]) -> "MovedPolicy":
        """What `model` is now; adapters are merged."""
        weights = {name: weight.cpu() for name, weight in merged_weights(model).items()}
        return MovedPolicy(path, weights, how, model.dtype)

    def answer(self, asked: Asked) -> list[Answer]:
        """One answer to each prompt."""
        return answers(self._model, asked, self.how)

    @cached_property
    def _model(self) -> Any:
        model = _skeleton(self.path, self.dtype)
        model.load_state_dict(self.weights)
        return model


def answers(model: Any, asked: Asked, how: Mapping[str, Any]) -> list[Answer]:
    """The model's, in the prompts' order."""
    return answers_in(decode(model, asked.prompts, row_seeds=asked.row_seeds, **how))


def answers_in(found: Rollouts) -> list[Answer]:
    """One by one."""
    drawn = zip(
        found.responses(), found.logprobs_B_T.tolist(), found.stopped_B.tolist(), strict=True
    )
    return [Answer(ids, logprobs[: len(ids)], stopped) for ids, logprobs, stopped in drawn]


@contextmanager
def light(model: Any, path: str, tuning: Tuning) -> Iterator[Any]:
    """What draws for a model that learns: a copy of its present weights in bfloat16 where training
    computes in that (half the bytes of a step, and a GPU's matrix units), else the model itself.
    `path` is the directory of the policy that it has begun from."""
    if not in_bfloat16(tuning.precision, model.device):
        yield model
        return
    twin = _compiled_skeleton(path) if tuning.compile else _skeleton(path, torch.bfloat16)
    twin.to(model.device).load_state_dict(merged_weights(model))
    yield twin
    twin.to("cpu")  # updates need the room


@lru_cache(maxsize=1)
def _compiled_skeleton(path: str) -> Any:
    return fuse_small_operations(load_policy(path, best_device(), torch.bfloat16))


@lru_cache(maxsize=1)
def _skeleton(path: str, dtype: Any) -> Any:
    """Loaded once; weights come with every update."""
    return load_policy(path, best_device(), dtype)


def pieces(asked: Asked, size: int) -> Sequence[Asked]:
    """The prompts, so many at a time."""
    return [
        Asked(asked.prompts[first : first + size], asked.row_seeds[first : first + size])
        for first in range(0, len(asked.prompts), size)
    ]
