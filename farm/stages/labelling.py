"""What stages that ask annotators have in common: progress with cost, notes, and accounts."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from farm.heartbeat import Adding, listening
from farm.protocols import Annotator
from farm.stages.job import Job
from farm.types import Judgment, Pair

_SHOWN_REASONS = 3


class Hearing(Adding):
    """Asks annotators for a job: their progress and the dollars paid so far are the job's."""

    def __init__(self, job: Job, total: int) -> None:
        self.notes: list[str] = []
        super().__init__(total, job.progress, self.notes.append)

    def annotate(self, annotator: Annotator, pairs: Sequence[Pair], seed: int) -> list[Judgment]:
        """The annotator's judgments, with an ear on it."""
        with listening(self):
            judgments = annotator.annotate(pairs, seed=seed)
        self.finished(len(pairs))
        return judgments


def accounts(judgments: Sequence[Judgment]) -> dict[str, Any]:
    """Counts and costs for the manifest.

    `cost_usd` is what the judgments are priced at, `paid_usd` what of it was paid this time; both
    are None where a price is not known.
    """
    asked = [j for j in judgments if j.usage is not None]
    fresh = [j for j in asked if not j.cached]
    return {
        "labels": len(judgments),
        "no_verdict": sum(j.preference is None for j in judgments),
        "noised": sum(j.noised for j in judgments),
        "requests": sum(j.usage.requests for j in asked if j.usage),
        "prompt_tokens": sum(j.usage.prompt_tokens for j in asked if j.usage),
        "completion_tokens": sum(j.usage.completion_tokens for j in asked if j.usage),
        "cost_usd": _dollars(judgments),
        "paid_usd": _dollars(fresh),
    }


def _dollars(judgments: Sequence[Judgment]) -> float | None:
    known = [j.cost_usd for j in judgments if j.cost_usd is not None]
    return sum(known) if len(known) == len(judgments) else None


def caveats(judgments: Sequence[Judgment]) -> list[str]:
    """What readers must know of these judgments: failures, unknown prices, and judges whose
    provider answered with several models."""
    notes = []
    reasons = Counter(j.error or "no reason given" for j in judgments if j.preference is None)
    if reasons:
        shown = "; ".join(f"{count} x {why}" for why, count in reasons.most_common(_SHOWN_REASONS))
        notes.append(f"{reasons.total()} of {len(judgments)} pairs got no verdict: {shown}.")
    unpriced = {j.requested_model or j.annotator for j in judgments if j.cost_usd is None}
    if unpriced:
        notes.append(
            f"The price of {', '.join(sorted(unpriced))} is not known, so costs are not either: "
            "give the endpoint a `price`."
        )
    answered: dict[tuple[str, str], set[str]] = defaultdict(set)
    for j in judgments:
        if j.requested_model is not None and j.model is not None:
            answered[j.annotator, j.requested_model].add(j.model)
    notes += [
        f"{annotator} asked for {requested} and was answered by {', '.join(sorted(models))}: these "
        "judgments come from different models."
        for (annotator, requested), models in answered.items()
        if len(models) > 1
    ]
    return notes
