"""Merging: two or more policies become one by arithmetic on their weights; nothing is trained.

Lu, Luu and Buehler (npj Comput. Mater. 2025, arXiv 2409.03444) end their chains of domain
adaptation with a spherical interpolation between the stock instruct model (t = 0) and what they
fine-tuned (t = 1): `policies: [start, previous]`. The formulas are in `methods.merging.formulas`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from farm.checks import require_at_least
from farm.errors import ConfigError
from farm.types import Inputs, Need, PolicyRef
from methods.merging.ways import Way

if TYPE_CHECKING:
    from farm.context import Context
    from methods.merging.streaming import Likeness

TENSORS = "tensors.parquet"
"""Beside the policy: one row for each tensor and each policy but the first, the columns of
`methods.merging.streaming.Likeness`."""


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Merges `inputs.policies`, which have one architecture and vocabulary. Metrics, of tensors of
    two or more dimensions against those of the first policy: nearly_parallel (share with
    |cos| > 0.9995, where SLERP is linear interpolation), cosine and distance (means).

    Raises `ConfigError` where the way to merge does not take so many policies, or one is decoded in
    a way of its own, and `DataError` where their tensors or tokenizers differ.
    """

    stage_version: ClassVar[int] = 1
    needs: ClassVar[frozenset[Need]] = frozenset({"policies"})
    key_excludes: ClassVar[frozenset[str]] = frozenset({"policies"})  # they count, not their names

    policies: Sequence[str]
    """In the formula's order: `start`, the run's start; `previous`, what this learner goes on from;
    in a chain the names of earlier links; directories and hub names."""
    merge: Way

    def __post_init__(self) -> None:
        require_at_least("policies", len(self.policies), 2)
        self.merge.check(len(self.policies))

    def fit(self, start: PolicyRef, inputs: Inputs, context: "Context") -> PolicyRef:
        """The merged policy, decoded as the start is."""
        import shutil

        policies = inputs.policies or ()
        for name, policy in zip(self.policies, policies, strict=True):
            if not policy.plain:
                raise ConfigError(
                    f"policies: {name} is decoded in a way of its own (best-of-n, a control "
                    "token), which no merge of weights keeps. Right would be what it was made from."
                )
        path = context.work / "policy"

        def merge() -> None:
            if not path.exists():
                self._merge([Path(policy.path) for policy in policies], context)

        context.ranks.once(merge)

        def save(folder: Path) -> None:
            shutil.copytree(path, folder, dirs_exist_ok=True)

        context.checkpoint(1, save)
        return PolicyRef(str(path), start.decoding)

    def _merge(self, folders: Sequence[Path], context: "Context") -> None:
        import pandas as pd

        from farm.training.trainer import publish
        from methods.merging.streaming import merge_folders

        def save(into: Path) -> None:
            found = merge_folders(folders, self.merge, into)
            pd.DataFrame(found).to_parquet(context.work / TENSORS, index=False)
            context.rewind_metrics(0)  # what a killed call has logged
            context.log(1, 1, _means(found))

        publish(context, "policy", save)


def _means(found: "Sequence[Likeness]") -> dict[str, float]:
    directed = [likeness for likeness in found if likeness.dimensions > 1]
    count = max(len(directed), 1)
    return {
        "nearly_parallel": sum(likeness.nearly_parallel for likeness in directed) / count,
        "cosine": sum(likeness.cosine for likeness in directed) / count,
        "distance": sum(likeness.distance for likeness in directed) / count,
    }
