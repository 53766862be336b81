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
        self._metrics = training_metrics(pipeline.policy.path)

    def judgments(self, step: int | None = None) -> int:
        """Used up to a step of the learner, None: to its end. Those that were there before it
        began, and those that it asked for (its metric `judgments`, of all so far)."""
        return int(self._offline["labels"] + self._online(step)["judgments"])

    def cost_usd(self, step: int | None = None) -> float | None:
        """What these judgments are priced at (the metric `cost_usd`, of all so far, which is not
        logged where a price is not known); None where it is not known."""
        offline, online = self._offline["cost_usd"], self._online(step).get("cost_usd")
        return None if offline is None or online is None else float(offline + online)

    @cached_property
    def _offline(self) -> Mapping[str, Any]:
        if not self._pipeline.uses_judgments:
            return {"labels": 0, "cost_usd": 0.0}
        results: dict[str, Any] = self._pipeline.judgments.manifest["results"]
        return results

    def _online(self, step: int | None) -> Mapping[str, Any]:
        asked = [
            line
            for line in self._metrics
            if "judgments" in line and (step is None or line["step"] <= step)
        ]
        return asked[-1] if asked else {"judgments": 0, "cost_usd": 0.0}

    @property
    def prompts(self) -> int:
        """Different instructions that were labelled, demonstrated or answered in training (the
        learner's metric `prompts`, of all so far). Demonstrations of labelled instructions count
        once more."""
        answered = max((line.get("prompts", 0) for line in self._metrics), default=0)
        return self._labelled + self._demonstrated + int(answered)

    @property
    def _labelled(self) -> int:
        import pandas as pd

        if not self._pipeline.uses_judgments:
            return 0
        pairs = pd.read_parquet(self._pipeline.judgments.path / "pairs.parquet")
        return int(pairs["instruction_id"].nunique())

    @property
    def _demonstrated(self) -> int:
        split = self._pipeline.policy.manifest["config"].get("demonstrations")
        rows = load_split(self._pipeline.instructions.path, split) if split else []
        return len({row.id for row in rows if row.demonstration is not None})

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
        learned = [self._pipeline.policy]
        if self._pipeline.learns_reward:
            learned.append(self._pipeline.reward)
        return float(sum(a.manifest["results"].get(name, math.nan) for a in learned))
