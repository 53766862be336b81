"""Ways of decoding that the group `decoding` names, besides drawing one token after the other.

Speculative ones draw from the same law as that, in fewer passes of the policy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from farm.checks import require, require_at_least
from farm.generation.stop_rules import HEAD, StopRule, TrainedHead
from farm.settings import DecodingSettings
from farm.stages.pointers import policy_path
from farm.types import DecodingNeed, Speculation


@dataclass(frozen=True, kw_only=True)
class Speculative(DecodingSettings):
    """Speculative sampling (arXiv 2211.17192, 2302.01318) by a rule that needs no training."""

    stage_version: ClassVar[int] = 1
    # What they name counts as the artefact that it is.
    key_excludes: ClassVar[frozenset[str]] = frozenset({"draft"})
    needs: ClassVar[frozenset[DecodingNeed]] = frozenset({"draft"})

    draft: str | None
    """A policy's directory or a hub name; None: trained first."""
    stop: StopRule

    def speculation(self, made: Mapping[DecodingNeed, Path]) -> Speculation:
        """The draft stops as `stop` says."""
        return Speculation(policy_path(made["draft"]), self.stop)


@dataclass(frozen=True, kw_only=True)
class SpecDecPP(DecodingSettings):
    """SpecDec++ (arXiv 2405.19715): the draft stops where its trained acceptance head says that one
    of the tokens will be rejected with a probability above `threshold`. Raises ConfigError."""

    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset({"draft", "head"})
    needs: ClassVar[frozenset[DecodingNeed]] = frozenset({"draft", "head"})

    draft: str | None
    """A policy's directory or a hub name; None: trained first."""
    head: str | None
    """A directory that `methods.acceptance_head` wrote, for this draft; None: trained first."""
    threshold: float = 0.7
    max_tokens: int = 20

    def __post_init__(self) -> None:
        require("threshold", self.threshold, "in [0, 1]", 0 <= self.threshold <= 1)
        require_at_least("max_tokens", self.max_tokens, 1)

    def speculation(self, made: Mapping[DecodingNeed, Path]) -> Speculation:
        """The draft stops as the head says."""
        folder = str(made["head"] / HEAD)
        rule = TrainedHead(head=folder, threshold=self.threshold, max_tokens=self.max_tokens)
        return Speculation(policy_path(made["draft"]), rule)
