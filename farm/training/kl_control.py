"""How strongly a policy is held to its start, as training goes on."""

from typing import ClassVar, Protocol, runtime_checkable

from farm.checks import require, require_at_least


@runtime_checkable
class KLController(Protocol):
    """The coefficient of the KL penalty, step by step."""

    coefficient: float
    """The first step's, per nat, in units of the standardised reward."""

    def update(self, coefficient: float, kl_to_start: float) -> float:
        """The next step's coefficient, after a step with this one at which the mean KL of an
        answer was `kl_to_start` nats."""
        ...


class FixedKL:
    """The same coefficient throughout, as in AlpacaFarm's released runs."""

    stage_version: ClassVar[int] = 1

    def __init__(self, coefficient: float) -> None:
        require_at_least("coefficient", coefficient, 0)
        self.coefficient = coefficient

    def update(self, coefficient: float, kl_to_start: float) -> float:
        """The coefficient itself."""
        return coefficient


class AdaptiveKL:
    """A coefficient that follows a target (Ziegler et al. 2019, arXiv 1909.08593, section 2.2).

    Each step multiplies it by 1 + gain * clip(kl / target - 1, -0.2, 0.2).
    """

    stage_version: ClassVar[int] = 1

    def __init__(self, coefficient: float, target: float, gain: float) -> None:
        require("coefficient", coefficient, "above 0: it is multiplied", coefficient > 0)
        require("target", target, "above 0", target > 0)
        require("gain", gain, "in (0, 1)", 0 < gain < 1)
        self.coefficient = coefficient
        self.target = target
        self.gain = gain

    def update(self, coefficient: float, kl_to_start: float) -> float:
        """The coefficient, a little larger above the target and smaller below it."""
        error = min(max(kl_to_start / self.target - 1, -0.2), 0.2)
        return coefficient * (1 + self.gain * error)
