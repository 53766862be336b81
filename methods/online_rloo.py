"""REINFORCE leave-one-out with the annotators in the reward's place: the answers to a prompt are
compared with each other, and an answer's reward is the mean preference over the others, from 0 (the
last of its group) to 1 (the first).

Comparing two answers at a time and ranking whole groups are the same here: a ranking judge says
what it thinks of all pairs of a group in one request (see `simulators.judges.ranking`).
The update is that of `methods.rloo` (Ahmadian et al. 2024, arXiv 2402.14740).
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from farm.protocols import FloatArray
from farm.training.feedback import Comparison
from farm.training.on_policy import Run
from farm.training.online import OnlineLearner
from methods.rloo import LeaveOneOut


@dataclass(frozen=True, kw_only=True)
class OnlineRLOO(LeaveOneOut, OnlineLearner):
    """Adds the metric reward, the answers' mean preference: 0.5 but for missing verdicts, which
    count for nobody, and the penalty of answers that ran into their limit."""

    unstopped_penalty: float = 1.0
    """Taken off the reward of an answer that ran into its limit."""

    def learn(self, run: Run) -> dict[str, float]:
        """Answer, compare all answers to a prompt, update."""
        import torch

        from farm.training.episodes import describe

        answered = self.answers(run)
        pairs = group_pairs(len(answered.texts), self.answers_per_prompt)
        asked = [
            Comparison(answered.asked[a], answered.texts[a], answered.texts[b]) for a, b in pairs
        ]
        verdicts = self.compare(run, asked)
        preferred_B = mean_preferences(len(answered.texts), pairs, verdicts.preferences)
        unstopped_B = ~answered.episodes.stopped_B.cpu().numpy()
        rewards_B = preferred_B - self.unstopped_penalty * unstopped_B
        losses = self.reinforce(
            run, answered.episodes, answered.observed, torch.from_numpy(rewards_B).float()
        )
        return {
            "reward": float(rewards_B.mean()),
            **describe(answered.episodes, answered.observed),
            **losses,
            **self.spent(run, verdicts),
        }


def group_pairs(answers: int, answers_per_prompt: int) -> list[tuple[int, int]]:
    """All pairs of rows within each group, those of one group contiguous."""
    return [
        pair
        for first in range(0, answers, answers_per_prompt)
        for pair in combinations(range(first, first + answers_per_prompt), 2)
    ]


def mean_preferences(
    answers: int, pairs: list[tuple[int, int]], preferences: FloatArray
) -> FloatArray:
    """Each answer's mean preference over those it was compared with [B]; pairs without a verdict
    are left out, and who has none at all gets 0.5."""
    wins, judged = np.zeros(answers), np.zeros(answers)
    for (a, b), preference in zip(pairs, preferences.tolist(), strict=True):
        if not np.isnan(preference):
            wins[a] += 1 - preference
            wins[b] += preference
            judged[[a, b]] += 1
    return np.where(judged > 0, wins / np.maximum(judged, 1), 0.5)
