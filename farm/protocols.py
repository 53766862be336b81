"""What can be replaced: one protocol per replaceable thing, one method each.

Implementations are named in a yaml by `_target_`. Their constructors are cheap (numbers, paths,
other objects); weights load in the one method. Modules that a yaml names import torch,
transformers, trl and ray inside functions, so that a mistyped key is answered in a second.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from farm.types import (
    Completion,
    Inputs,
    Instruction,
    Judgment,
    LabeledPair,
    Need,
    Pair,
    PolicyRef,
    ScorerRef,
    SplitName,
)

if TYPE_CHECKING:
    from farm.context import Context
    from farm.training.episodes import Predictor
    from farm.training.precision import Precision
    from farm.training.ranks import Ranks

FloatArray = NDArray[np.float64]


@runtime_checkable
class InstructionSource(Protocol):
    """Where instructions come from."""

    def load(self) -> Mapping[SplitName, Sequence[Instruction]]:
        """All five splits, disjoint by instruction id. Raises `DataError` on malformed input."""
        ...


@runtime_checkable
class TextSource(Protocol):
    """Where raw text comes from."""

    def texts(self) -> Sequence[str]:
        """Documents, none of them empty. Raises `DataError` on malformed input."""
        ...


@runtime_checkable
class ModelSource(Protocol):
    """Where the first policy comes from."""

    def build(self, texts: Sequence[Instruction], work: Path, *, seed: int) -> str:
        """Path of a directory or hub name that transformers loads; `work` when it was made here.

        `texts` are the training instructions with their demonstrations, for tokenizers that are
        trained on the data.
        """
        ...


@runtime_checkable
class Annotator(Protocol):
    """Who prefers what."""

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """One judgment per pair, in the pairs' order and orientation.

        The same `draw` gives the same verdicts, another a fresh sample of the same annotator. One
        that computes long may hand its work out (`farm.pool.in_pieces`).
        """
        ...


@runtime_checkable
class ExactAnnotator(Protocol):
    """An annotator that is a program: its expected preference can be computed."""

    def expectation(self, pairs: Sequence[Pair]) -> FloatArray:
        """P(output_b is better), exactly, over its own randomness and both orders; [N]."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """A number for an answer: a reward model, gold utility, exact match, a callable."""

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        """Scores [N], higher is better, of aligned instructions and texts; NaN where it does
        not apply."""
        ...


@runtime_checkable
class Learner(Protocol):
    """How a policy learns."""

    @property
    def needs(self) -> frozenset[Need]:
        """What it learns from. Who needs `policies` has a key `policies` that names them."""
        ...

    def fit(self, start: PolicyRef, inputs: Inputs, context: "Context") -> PolicyRef:
        """The learned policy, saved below `context.work`. Continues from what an interrupted
        call left there."""
        ...


@runtime_checkable
class Chained(Protocol):
    """A learner that is several, one after the other: the pipeline makes each an artefact."""

    @property
    def links(self) -> Mapping[str, Learner]:
        """By name, the first one first."""
        ...


@runtime_checkable
class RewardLearner(Protocol):
    """How a reward model learns."""

    def fit(
        self, start: PolicyRef, judgments: Sequence[LabeledPair], context: "Context"
    ) -> ScorerRef:
        """The reward model, saved below `context.work`."""
        ...


@runtime_checkable
class Sampler(Protocol):
    """How answers are drawn from a policy."""

    def sample(self, instructions: Sequence[Instruction], *, n: int, seed: int) -> list[Completion]:
        """n completions per instruction, those of one instruction contiguous."""
        ...


@runtime_checkable
class Tuning(Protocol):
    """Which parameters of a model learn, and how their gradients are computed."""

    @property
    def precision(self) -> "Precision":
        """Of training; see `farm.training.precision`."""
        ...

    @property
    def compile(self) -> bool:
        """Whether small operations are fused (torch.compile)."""
        ...

    def apply(self, model: Any, *, seed: int) -> Any:
        """The model (a torch module) with its trainable parameters marked; what is random about
        them is a function of the run's `seed`."""
        ...

    def before_step(self, model: Any, optimizer: Any, step: int, *, seed: int) -> None:
        """Called before the gradients of the optimiser's step number `step` (from 0) are computed,
        with the model that `apply` returned and the run's seed."""
        ...

    def anchor(self, model: Any, path: str, device: str, ranks: "Ranks") -> "Predictor":
        """The start policy for as long as `model`, which `apply` made of it, learns by `ranks`;
        `path` is the start's directory."""
        ...
