"""What a policy gradient does about an engine that draws from another distribution than the one
that the trainer computes from the same weights."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from farm.checks import require

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Correction(Protocol):
    """Weights of actions, by which a learner multiplies their advantages."""

    def weights(self, log_ratios: "Tensor") -> "Tensor":
        """Of the same shape; log_ratios are log pi - log pi_engine of the actions before an update
        (see `farm.training.episodes.log_ratios`): of tokens or, where a learner's action is the
        whole answer, of answers."""
        ...


@dataclass(frozen=True, kw_only=True)
class Uncorrected:
    """The engine is taken at its word: every weight is 1."""

    stage_version: ClassVar[int] = 1

    def weights(self, log_ratios: "Tensor") -> "Tensor":
        """Ones."""
        import torch

        return torch.ones_like(log_ratios)


@dataclass(frozen=True, kw_only=True)
class TruncatedImportance:
    """min(pi / pi_engine, cap) (Yao et al. 2025, "Your Efficient RL Framework Secretly Brings You
    Off-Policy RL Training"; truncation: Ionides 2008). Without a cap the gradient has the
    expectation that answers of the policy itself would give it where the action is the whole
    answer; a token's weight leaves out what came before it. Raises `ConfigError`."""

    stage_version: ClassVar[int] = 1

    cap: float | None = 3.0
    """The largest weight; None: none is cut."""

    def __post_init__(self) -> None:
        require("cap", self.cap, "above 0", self.cap is None or self.cap > 0)

    def weights(self, log_ratios: "Tensor") -> "Tensor":
        """Exactly 1 where engine and trainer agree."""
        return log_ratios.exp().clamp(max=self.cap) if self.cap else log_ratios.exp()
