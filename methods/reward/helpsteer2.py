"""The chain of HelpSteer2-Preference (arXiv 2410.01257): what ratings teach a reward model, then
what preferences do, then more of the latter.

1. Regression on helpfulness.
2. Scaled Bradley-Terry from that model, its head included.
3. ExPO (Zheng et al. 2024, arXiv 2404.16792): theta = theta_BT + alpha (theta_BT - theta_init),
   theta_init being the regression's weights.

The paper chose alpha on validation data. Here it is the one whose model agrees with most labels of
instructions that neither model has learned from; 0, no extrapolation, is among the candidates.
`extrapolation.json` keeps all of them. The labels of `validation.json` are others still, so that
its accuracy is not one that was chosen for being high.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from farm.checks import require
from farm.config import build
from farm.errors import DataError
from farm.training.preferences import heard, note_labels
from farm.types import LabeledPair, PolicyRef, ScorerRef
from methods.reward.attributes import Attributes
from methods.reward.bradley_terry import BradleyTerry
from methods.reward.extrapolation import best_alpha, extrapolated
from methods.reward.held_out import note_validation, split
from methods.reward.links import link

if TYPE_CHECKING:
    from farm.context import Context


@dataclass(frozen=True, kw_only=True)
class HelpSteer2:
    """Learns from labels with ratings and strengths. The links' models stay in the folders
    `regression` and `preference`, with their metrics.

    Raises `ConfigError` for values out of range and `DataError` where labels lack what a link
    needs.
    """

    stage_version: ClassVar[int] = 1

    regression: Attributes
    """The first link; of one attribute."""
    preference: BradleyTerry
    """The second; any of its losses."""
    alphas: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
    """Candidates; 0 is one."""
    selection_fraction: float = 0.05
    """Share of the instructions whose labels choose alpha."""
    validation_fraction: float = 0.05
    """Share of the instructions whose labels only measure accuracy."""

    def __post_init__(self) -> None:
        attributes, alphas = list(self.regression.weights), list(self.alphas)
        require("regression.weights", attributes, "one attribute", len(attributes) == 1)
        right = "numbers from 0, 0 among them"
        require("alphas", alphas, right, min(alphas, default=1.0) == 0)
        selection, validation = self.selection_fraction, self.validation_fraction
        require("selection_fraction", selection, "in (0, 1)", 0 < selection < 1)
        require("validation_fraction", validation, "in [0, 1)", 0 <= validation < 1)

    def fit(
        self, start: PolicyRef, judgments: Sequence[LabeledPair], context: "Context"
    ) -> ScorerRef:
        """The extrapolated model as a `RewardModelScorer`."""
        found = heard(judgments)
        note_labels(found, context)
        rest, validation = split(found.labels, self.validation_fraction, context.seed)
        training, selection = split(rest, self.selection_fraction, context.seed, "selection")
        with link(context, "regression") as first:
            initial = self.regression.fit(start, training, first).config["path"]
        with link(context, "preference") as second:
            trained = self.preference.refine(initial, training, second)
        path = context.work / "reward_model"

        def extrapolate() -> None:
            if not path.exists():
                self._extrapolate(initial, trained.config["path"], selection, context)

        context.ranks.once(extrapolate)
        config = {**trained.config, "path": str(path)}
        note_validation(build({**config, "device": context.device}), validation, context)
        return ScorerRef(config)

    def _extrapolate(
        self, initial: str, trained: str, selection: Sequence[LabeledPair], context: "Context"
    ) -> None:
        from farm.models.load import load_tokenizer, save_policy
        from farm.training.trainer import publish

        leaning = [label for label in selection if label.judgment.preference != 0.5]
        if not leaning:
            raise DataError(
                f"selection_fraction={self.selection_fraction} holds out no label that prefers an "
                "answer: nothing could choose alpha."
            )
        accuracies = self._sweep(initial, trained, leaning, context)
        alpha = best_alpha(accuracies)
        noted = {"alpha": alpha, "pairs": len(leaning), "accuracies": list(accuracies.items())}
        context.keep("extrapolation.json", json.dumps(noted) + "\n")
        model = extrapolated(trained, initial, alpha, context.device)
        publish(context, "reward_model", partial(save_policy, model, load_tokenizer(trained)))

    def _sweep(
        self, initial: str, trained: str, leaning: Sequence[LabeledPair], context: "Context"
    ) -> dict[float, float]:
        """By alpha, on which share of the labels its model agrees."""
        from farm.models.load import load_tokenizer
        from farm.scorers.reward_model import head_outputs

        tokenizer = load_tokenizer(trained)
        rows = self.preference.rows(tokenizer, leaning)
        b_preferred_N = np.array([(label.judgment.preference or 0) > 0.5 for label in leaning])
        limit = self.preference.tokens_per_batch

        def accuracy(alpha: float) -> float:
            model = extrapolated(trained, initial, alpha, context.device)
            a_N, b_N = (
                head_outputs(model, ids, tokenizer.pad_token_id, limit)[:, 0] for ids in rows
            )
            return float(np.mean(np.where(b_preferred_N, b_N > a_N, a_N > b_N)))

        return {alpha: accuracy(alpha) for alpha in sorted(set(self.alphas))}
