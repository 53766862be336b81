"""What a policy has cost: judgments and their price, instructions, computing, time.

The start is not counted: all methods begin from one that is given.
"""

import math
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from farm.stages.instructions import load_split
from farm.stages.policy import training_metrics

if TYPE_CHECKING:
    from farm.pipeline import Pipeline


class Spending:
    """Of a pipeline's policy, with the labels and the reward model that it learned from."""

    def __init__(self, pipeline: "Pipeline") -> None:
        self._pipeline = pipeline
        *self._before, self._last = [training_metrics(a.path) for a in pipeline.links.values()]

    def judgments(self, step: int | None = None) -> int:
        """Used up to a step of the last link, None: to its end. Those that were there before it
        began, and those that it or an earlier link asked for (their metric `judgments`, of all so
        far)."""
        asked = sum(line["judgments"] for line in self._online(step))
        return int(self._offline["labels"] + asked)

    def cost_usd(self, step: int | None = None) -> float | None:
        """What these judgments are priced at (the metric `cost_usd`, of all so far, which is not
        logged where a price is not known); None where it is not known."""
        costs = [self._offline["cost_usd"], *(line.get("cost_usd") for line in self._online(step))]
        return None if None in costs else float(sum(costs))

    @cached_property
    def _offline(self) -> Mapping[str, Any]:
        if not self._pipeline.uses_judgments:
            return {"labels": 0, "cost_usd": 0.0}
        results: dict[str, Any] = self._pipeline.judgments.manifest["results"]
        return results

    def _online(self, step: int | None) -> list[Mapping[str, Any]]:
        """What each link that asked for judgments has said of them last."""
        until = [line for line in self._last if step is None or line["step"] <= step]
        asked = [[line for line in m if "judgments" in line] for m in (*self._before, until)]
        return [lines[-1] for lines in asked if lines]

    @property
    def prompts(self) -> int:
        """Different instructions that were labelled, demonstrated or answered in training (the
        learners' metric `prompts`, of all so far). What several links have seen, and
        demonstrations of labelled instructions, count once more."""
        answered = [
            max((line.get("prompts", 0) for line in metrics), default=0)
            for metrics in (*self._before, self._last)
        ]
        return self._labelled + self._demonstrated + int(sum(answered))

    @property
    def _labelled(self) -> int:
        import pandas as pd

        if not self._pipeline.uses_judgments:
            return 0
        pairs = pd.read_parquet(self._pipeline.judgments.path / "pairs.parquet")
        return int(pairs["instruction_id"].nunique())

    @property
    def _demonstrated(self) -> int:
        configs = [a.manifest["config"] for a in self._pipeline.links.values()]
        splits = [config["demonstrations"] for config in configs if "demonstrations" in config]
        rows = [load_split(self._pipeline.instructions.path, split) for split in splits]
        return sum(len({r.id for r in of if r.demonstration is not None}) for of in rows)

    @property
    def flops(self) -> float:
        """Floating-point operations of training (`farm.training.compute`); NaN where an artefact is
        older than their count, as with `wall_s`."""
        return self._trained("flops")

    @property
    def wall_s(self) -> float:
        """Seconds that training took, where it ran."""
        return self._trained("wall_s")

    def _trained(self, name: str) -> float:
        learned = list(self._pipeline.links.values())
        if self._pipeline.learns_reward:
            learned.append(self._pipeline.reward)
        return float(sum(a.manifest["results"].get(name, math.nan) for a in learned))
