"""What learners share whose own answers are judged by the annotators, under a budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from farm.checks import require
from farm.training.feedback import Comparison, Feedback, Verdicts
from farm.training.on_policy import OnPolicyLearner, Run
from farm.types import Need


@dataclass(frozen=True, kw_only=True)
class OnlineLearner(OnPolicyLearner):
    """Learns from `inputs.annotator` on prompts from `inputs.instructions`, for as many steps as
    the budget of judgments pays for; it uses no labels that were there before.

    Adds the metrics judgments and cost_usd (spent so far; no cost where a price is not known) and
    ties (share of a step's comparisons).
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"instructions", "annotator"})

    judgments: int
    """The budget; a comparison of identical answers is a tie that costs none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        least = self.judgments_per_step
        require(
            "judgments", self.judgments, f"at least {least}, what one step takes",
            self.judgments >= least,
        )  # fmt: skip

    @property
    def judgments_per_step(self) -> int:
        """All pairs of a prompt's answers."""
        each = self.answers_per_prompt
        return self.episodes_per_step // each * (each * (each - 1) // 2)

    @property
    def total_steps(self) -> int:
        """What the budget pays for if all answers differ."""
        return self.judgments // self.judgments_per_step

    def numbers(self) -> dict[str, Any]:
        """What was spent."""
        return {"judgments": 0, "cost_usd": 0.0}

    def compare(self, run: Run, asked: Sequence[Comparison]) -> Verdicts:
        """Ask, and count."""
        annotator = run.inputs.annotator
        assert annotator is not None
        feedback = Feedback(annotator, run.context)
        verdicts = run.context.ranks.once(
            lambda: feedback.compare(run.step, self.total_steps, asked)
        )
        known = run.numbers["cost_usd"] is not None and verdicts.cost_usd is not None
        run.numbers["judgments"] += verdicts.judgments
        run.numbers["cost_usd"] = run.numbers["cost_usd"] + verdicts.cost_usd if known else None
        return verdicts

    def spent(self, run: Run, verdicts: Verdicts) -> dict[str, float]:
        """The metrics of what was asked."""
        cost = run.numbers["cost_usd"]
        return {
            "judgments": run.numbers["judgments"],
            **({} if cost is None else {"cost_usd": cost}),
            "ties": float((verdicts.preferences == 0.5).mean()),
        }
