"""When a draft stops proposing and lets the policy check.

A rule gives an estimate for each proposed token and decides by those of its round. Whatever it
decides, answers keep the policy's law, as long as the decision after a token looks at nothing later
than that token (`farm.generation.speculative`). `max_tokens` bounds a round in any case.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from farm.checks import require, require_at_least

if TYPE_CHECKING:
    from torch import Tensor

HEAD = "head"
"""The folder of an acceptance head, in the artefact that brings one."""


class DraftStep(NamedTuple):
    """The draft has just proposed its `place`-th token of the round, counted from 1, in B rows."""

    place: int
    probabilities_B_V: "Tensor"
    """What that token was drawn from."""
    hidden_B_D: "Tensor"
    """The draft's last hidden states where it read the token before."""


@runtime_checkable
class StopRule(Protocol):
    """Decides after every proposed token."""

    lag: ClassVar[int]
    """How many tokens before the newest one an estimate is about."""

    @property
    def max_tokens(self) -> int:
        """Of a round, at most."""
        ...

    def estimates(self, step: DraftStep) -> "Tensor":
        """One number for each row, float [B]."""
        ...

    def stops(self, estimates_B_K: "Tensor") -> "Tensor":
        """Whether the row's round ends here, bool [B], by its estimates so far."""
        ...


@dataclass(frozen=True, kw_only=True)
class FixedLength:
    """Every round has `max_tokens` (Leviathan et al. 2023, arXiv 2211.17192)."""

    stage_version: ClassVar[int] = 1
    lag: ClassVar[int] = 0

    max_tokens: int = 4

    def __post_init__(self) -> None:
        require_at_least("max_tokens", self.max_tokens, 1)

    def estimates(self, step: DraftStep) -> "Tensor":
        """None: NaN."""
        return step.hidden_B_D.new_full((len(step.hidden_B_D),), float("nan"))

    def stops(self, estimates_B_K: "Tensor") -> "Tensor":
        """Never."""
        return estimates_B_K[:, -1] < 0


@dataclass(frozen=True, kw_only=True)
class _Threshold:
    """Raises `ConfigError` for values out of range."""

    stage_version: ClassVar[int] = 1
    lag: ClassVar[int] = 0

    threshold: float
    max_tokens: int = 20
    """SpecDec++: 20."""

    def __post_init__(self) -> None:
        require_at_least("threshold", self.threshold, 0)
        require_at_least("max_tokens", self.max_tokens, 1)


@dataclass(frozen=True, kw_only=True)
class _Rejection(_Threshold):
    """Estimates are probabilities that a token is accepted where those before it were; the round
    ends when 1 - product of them, the probability that one is rejected, exceeds `threshold`
    (SpecDec++, arXiv 2405.19715: the optimal stop has this form)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require("threshold", self.threshold, "in [0, 1]", self.threshold <= 1)

    def stops(self, estimates_B_K: "Tensor") -> "Tensor":
        """Whether a rejection has become too likely."""
        return 1 - estimates_B_K.prod(-1) > self.threshold


@dataclass(frozen=True, kw_only=True)
class MaxProbability(_Rejection):
    """Takes the draft's highest probability for that of acceptance: needs no training."""

    def estimates(self, step: DraftStep) -> "Tensor":
        """max q."""
        return step.probabilities_B_V.amax(-1)


@dataclass(frozen=True, kw_only=True)
class Entropy(_Threshold):
    """The round ends where the draft was unsure: its entropy, in nats, exceeds `threshold`."""

    def estimates(self, step: DraftStep) -> "Tensor":
        """exp(-entropy): 1 where the draft is sure."""
        return step.probabilities_B_V.xlogy(step.probabilities_B_V).sum(-1).exp()

    def stops(self, estimates_B_K: "Tensor") -> "Tensor":
        """By the newest token alone."""
        return -estimates_B_K[:, -1].log() > self.threshold


@dataclass(frozen=True, kw_only=True)
class TrainedHead(_Rejection):
    """SpecDec++'s rule: a trained head estimates the acceptance of a token from the hidden state
    where the draft reads it, that is while it proposes the next one. So the newest token is never
    judged yet, and a round has two tokens at least, where an end or the limit allows."""

    lag: ClassVar[int] = 1

    head: str
    """A directory that `methods.acceptance_head` wrote."""

    def estimates(self, step: DraftStep) -> "Tensor":
        """The head's, of the token before; 1 at the first."""
        if step.place == 1:
            return step.hidden_B_D.new_ones(len(step.hidden_B_D))
        width = step.hidden_B_D.shape[1]
        fits = self._head.sizes["width"] == width
        require("decoding.head", self.head, f"a head for a draft of width {width}", fits)
        estimates_B: Tensor = self._head.to(step.hidden_B_D.device)(step.hidden_B_D)
        return estimates_B

    @cached_property
    def _head(self) -> Any:
        from farm.models.acceptance import load_head

        return load_head(self.head)
