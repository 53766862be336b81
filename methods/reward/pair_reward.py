"""What reward models of labelled pairs share: everything but the loss."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from farm.checks import require
from farm.errors import DataError
from farm.seeds import uniform
from farm.training.offline import LossLearner, LossOfRows
from farm.training.preferences import decided, heard, note_labels
from farm.types import LabeledPair, PolicyRef, ScorerRef

if TYPE_CHECKING:
    from torch import Tensor

    from farm.context import Context
    from farm.scorers.reward_model import RewardModelScorer
    from farm.training.loss_trainer import RowLosses

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PairRewardLearner(LossLearner):
    """Learns from judgments, soft and tied ones as they are; missing verdicts are dropped and
    counted in `labels.json`. The model is the policy's trunk with a new head on the answer's last
    token.

    `validation_fraction` of the instructions are held out; `validation.json` says on how many of
    their pairs the model agrees with the (noisy) label; where that may be chance, the run warns of
    it. Raises `ConfigError` for values out of range and `DataError` where no judgment is left to
    learn from.
    """

    learning_rate: float = 5e-4
    epochs: float | None = 2.0
    warmup_ratio: float = 0.1
    validation_fraction: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        fraction = self.validation_fraction
        require("validation_fraction", fraction, "in [0, 1)", 0 <= fraction < 1)

    def fit(
        self, start: PolicyRef, judgments: Sequence[LabeledPair], context: "Context"
    ) -> ScorerRef:
        """The reward model as a `RewardModelScorer`."""
        from farm.scorers.reward_model import RewardModelScorer

        config: dict[str, Any] = {
            "path": str(context.work / "reward_model"),
            "max_prompt_tokens": self.max_prompt_tokens,
            "max_new_tokens": self.max_new_tokens,
        }
        found = heard(judgments)
        training, validation = self._split(found.labels, context.seed)
        if not (context.work / "reward_model").exists():
            note_labels(found, context.work)
            self._fit(start, training, context)
        scorer = RewardModelScorer(**config, device=context.device)
        note_validation(scorer, validation, context)
        return ScorerRef({"_target_": "farm.scorers.reward_model.RewardModelScorer", **config})

    def _split(
        self, labels: Sequence[LabeledPair], seed: int
    ) -> tuple[list[LabeledPair], list[LabeledPair]]:
        """(training, validation): all pairs of an instruction are on one side."""
        training: list[LabeledPair] = []
        validation: list[LabeledPair] = []
        for label in labels:
            drawn = uniform(seed, "validation", label.pair.instruction.id)
            (validation if drawn < self.validation_fraction else training).append(label)
        if not training:
            raise DataError(
                f"validation_fraction={self.validation_fraction} leaves none of the "
                f"{len(labels)} labels to learn from."
            )
        return training, validation

    def _fit(self, start: PolicyRef, training: Sequence[LabeledPair], context: "Context") -> None:
        from farm.models.load import load_reward_model, load_tokenizer, save_policy
        from farm.training.loss_trainer import minimise
        from farm.training.trainer import publish

        tokenizer = load_tokenizer(start.path)
        rows_a, rows_b = self._rows(tokenizer, training)
        model = load_reward_model(start.path, context.device)
        model.score.weight.data.zero_()  # all answers start out alike
        model = context.tuning.apply(model)
        minimise(
            model,
            self._losses(rows_a, rows_b, training),
            [len(a) + len(b) for a, b in zip(rows_a, rows_b, strict=True)],
            self,
            context,
        )
        publish(context, "reward_model", partial(save_policy, model, tokenizer))

    def _rows(
        self, tokenizer: Any, training: Sequence[LabeledPair]
    ) -> tuple[list[list[int]], list[list[int]]]:
        from farm.models import chat

        def ids(texts: list[str]) -> list[list[int]]:
            examples = chat.examples(
                tokenizer,
                [label.pair.instruction.messages for label in training],
                texts,
                max_prompt_tokens=self.max_prompt_tokens,
                max_new_tokens=self.max_new_tokens,
            )
            return [example.input_ids for example in examples]

        return (
            ids([label.pair.output_a for label in training]),
            ids([label.pair.output_b for label in training]),
        )

    def _losses(
        self,
        rows_a: list[list[int]],
        rows_b: list[list[int]],
        training: Sequence[LabeledPair],
    ) -> LossOfRows:
        from farm.training.answer_scores import answer_scores

        def losses(model: Any, batch: Sequence[int]) -> "RowLosses":
            ids = [*(rows_a[i] for i in batch), *(rows_b[i] for i in batch)]
            a_B_K, b_B_K = answer_scores(model, ids).chunk(2)
            return self.pair_losses(a_B_K, b_B_K, [training[i] for i in batch])

        return losses

    def pair_losses(
        self, a_B_K: "Tensor", b_B_K: "Tensor", labels: Sequence[LabeledPair]
    ) -> "RowLosses":
        """Losses of pairs whose answers have these scores, [B, outputs] each."""
        raise NotImplementedError


def preferences(labels: Sequence[LabeledPair], like: "Tensor") -> "Tensor":
    """P(b is better) [B], on the device of `like`."""
    import torch

    return torch.tensor([float(label.judgment.preference or 0.0) for label in labels]).to(like)


def note_validation(
    scorer: "RewardModelScorer", validation: Sequence[LabeledPair], context: "Context"
) -> None:
    """Keep in `validation.json` on how many held-out labels the scorer agrees; ties say nothing."""
    held_out = decided(validation)
    instructions = [row.instruction for row in held_out]
    chosen = scorer.score(instructions, [row.chosen for row in held_out])
    rejected = scorer.score(instructions, [row.rejected for row in held_out])
    agreeing, pairs = int(np.sum(chosen > rejected)), len(held_out)
    noted = {"pairs": pairs, "accuracy": agreeing / pairs if pairs else None}
    (context.work / "validation.json").write_text(json.dumps(noted) + "\n")
    logger.info("validation: %s", noted)
    if pairs and (warning := _may_be_chance(agreeing, pairs)):
        context.note(warning)


def _may_be_chance(agreeing: int, pairs: int) -> str | None:
    """A warning, where the Wilson 95 % interval of the agreement does not lie above one half."""
    from scipy.stats import binomtest

    low, high = binomtest(agreeing, pairs).proportion_ci(method="wilson")
    if low > 0.5:
        return None
    return (
        f"the reward model agrees with {agreeing / pairs:.1%} of {pairs} held-out labels (95 % "
        f"interval {low:.1%} to {high:.1%}), which may be chance: what a learner gains from it "
        "may be luck. More labels, or less noise in them, would help."
    )
