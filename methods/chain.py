"""Chains: learners one after the other, each going on from the policy of the one before.

Continual pre-training, supervised fine-tuning, preference optimisation and merging, in any order,
is how Lu, Luu and Buehler adapt models to a domain (npj Comput. Mater. 2025, arXiv 2409.03444).
In a run every link is an artefact of its own: chains that begin alike share what they begin with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from farm.chains import PREVIOUS, START
from farm.checks import require
from farm.protocols import Learner
from farm.seeds import derive
from farm.types import Inputs, Need, PolicyRef

if TYPE_CHECKING:
    from farm.context import Context


@dataclass(frozen=True, kw_only=True)
class Chain:
    """What its links learn from is there from the beginning, labels of the start's answers
    included; a link that needs policies names the start, earlier links or directories.

    Raises `ConfigError` for no link, or one with a name that means something else.
    """

    stage_version: ClassVar[int] = 1

    links: Mapping[str, Learner]
    """By name, the first one first."""

    def __post_init__(self) -> None:
        require("links", list(self.links), "at least one learner", bool(self.links))
        for name in (START, PREVIOUS):
            require(f"links.{name}", name, "called otherwise: the name is taken",
                    name not in self.links)  # fmt: skip

    @property
    def needs(self) -> frozenset[Need]:
        """All that a link needs, but for policies, which the chain gives."""
        return frozenset().union(*(link.needs for link in self.links.values())) - {"policies"}

    def fit(self, start: PolicyRef, inputs: Inputs, context: "Context") -> PolicyRef:
        """The last link's policy; checkpoints are the last link's. Each link works in a folder
        below `context.work`."""
        known = {START: start, PREVIOUS: start}
        for name, link in self.links.items():
            work = context.work / name
            work.mkdir(exist_ok=True)
            ends = name == list(self.links)[-1]
            part = replace(
                context,
                seed=derive(context.seed, "link", name),
                work=work,
                on_checkpoint=context.on_checkpoint if ends else None,
            )
            policies = _named(getattr(link, "policies", ()), known)
            known[name] = link.fit(known[PREVIOUS], replace(inputs, policies=policies), part)
            known[PREVIOUS] = known[name]
        return known[PREVIOUS]


def _named(names: Sequence[str], known: Mapping[str, PolicyRef]) -> list[PolicyRef]:
    decoding = known[START].decoding
    return [known[name] if name in known else PolicyRef(name, decoding) for name in names]
