"""A reward model of pairwise preferences (Bradley and Terry 1952; Ouyang et al. 2022, arXiv
2203.02155, equation 1).

Minimises -log sigmoid(r(x, y_chosen) - r(x, y_rejected)) with the policy's trunk and a new scalar
head on the answer's last token. The loop is TRL's RewardTrainer; both answers of all pairs of a
batch go through the model in one forward pass, in batches of similar length.
AlpacaFarm (arXiv 2305.14387) used learning rate 3e-6, cosine, warm-up 3 %, 1 epoch, batch 16, on
LLaMA-7B, no end token and a head on the last position of left-padded rows; here the head reads the
end id. An answer that sampling cut at its limit has none, unless its text takes fewer tokens than
were sampled: judgments keep texts, and such a text looks as if it had ended.
"""

import json
import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from farm.checks import require, require_at_least
from farm.errors import DataError
from farm.seeds import uniform
from farm.training.preferences import Preference, decided, note_labels
from farm.training.schedule import LearningRateSchedule, Schedule
from farm.types import LabeledPair, PolicyRef, ScorerRef

if TYPE_CHECKING:
    from farm.context import Context
    from farm.scorers.reward_model import RewardModelScorer

logger = logging.getLogger(__name__)


class BradleyTerry:
    """Learns from judgments that prefer one answer; ties and missing verdicts are dropped and
    counted in `labels.json`.

    `validation_fraction` of the instructions are held out; `validation.json` says on how many of
    their pairs the model agrees with the (noisy) label; where that may be chance, the run warns of
    it. Metrics: loss (nats per pair), accuracy (share of the batch's pairs where the chosen answer
    scores higher), margin (mean score difference). Raises `ConfigError` for values out of range and
    `DataError` where no judgment is left to learn from.
    """

    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset({"resume_every"})

    def __init__(
        self,
        *,
        max_prompt_tokens: int,
        max_new_tokens: int,
        learning_rate: float = 5e-4,
        epochs: float | None = 2.0,
        max_steps: int | None = None,
        batch_size: int = 128,
        warmup_ratio: float = 0.1,
        lr_schedule: LearningRateSchedule = "cosine",
        weight_decay: float = 0.0,
        max_grad_norm: float = 1.0,
        validation_fraction: float = 0.05,
        resume_every: int = 100,
    ) -> None:
        self._schedule = Schedule(
            learning_rate=learning_rate,
            epochs=epochs,
            max_steps=max_steps,
            batch_size=batch_size,
            warmup_ratio=warmup_ratio,
            lr_schedule=lr_schedule,
            weight_decay=weight_decay,
            max_grad_norm=max_grad_norm,
        )
        require_at_least("max_prompt_tokens", max_prompt_tokens, 1)
        require_at_least("max_new_tokens", max_new_tokens, 1)
        require(
            "validation_fraction", validation_fraction, "in [0, 1)", 0 <= validation_fraction < 1
        )
        require_at_least("resume_every", resume_every, 1)
        self._max_prompt_tokens = max_prompt_tokens
        self._max_new_tokens = max_new_tokens
        self._validation_fraction = validation_fraction
        self._resume_every = resume_every

    def fit(
        self, start: PolicyRef, judgments: Sequence[LabeledPair], context: "Context"
    ) -> ScorerRef:
        """The reward model as a `RewardModelScorer`."""
        from farm.scorers.reward_model import RewardModelScorer

        config: dict[str, Any] = {
            "path": str(context.work / "reward_model"),
            "max_prompt_tokens": self._max_prompt_tokens,
            "max_new_tokens": self._max_new_tokens,
        }
        labels = decided(judgments)
        training, validation = self._split(labels.preferences, context.seed)
        if not (context.work / "reward_model").exists():
            note_labels(labels, context.work)
            self._fit(start, training, context)
        scorer = RewardModelScorer(**config, device=context.device)
        self._note_validation(scorer, validation, context)
        return ScorerRef({"_target_": "farm.scorers.reward_model.RewardModelScorer", **config})

    def _split(
        self, preferences: list[Preference], seed: int
    ) -> tuple[list[Preference], list[Preference]]:
        """(training, validation): all pairs of an instruction are on one side."""
        training: list[Preference] = []
        validation: list[Preference] = []
        for row in preferences:
            drawn = uniform(seed, "validation", row.instruction.id)
            (validation if drawn < self._validation_fraction else training).append(row)
        if not training:
            raise DataError(
                f"validation_fraction={self._validation_fraction} leaves none of the "
                f"{len(preferences)} preferences to learn from."
            )
        return training, validation

    def _fit(self, start: PolicyRef, training: Sequence[Preference], context: "Context") -> None:
        from farm.models.load import load_reward_model, load_tokenizer, save_policy
        from farm.training.trainer import publish, train

        tokenizer = load_tokenizer(start.path)
        rows = self._rows(tokenizer, training)
        model = load_reward_model(start.path, context.device)
        model.score.weight.data.zero_()  # all answers start out alike: a loss of log 2
        model = context.tuning.apply(model)
        trainer = self._trainer(model, tokenizer, rows, context)
        train(
            trainer,
            context,
            lengths=[max(map(len, pair)) for pair in zip(*rows.values(), strict=True)],
            names={"accuracy": "accuracy", "margin": "margin"},
        )
        publish(context, "reward_model", partial(save_policy, trainer.model, tokenizer))

    def _rows(self, tokenizer: Any, training: Sequence[Preference]) -> dict[str, list[list[int]]]:
        from farm.models import chat

        def ids(texts: list[str]) -> list[list[int]]:
            examples = chat.examples(
                tokenizer,
                [row.instruction.messages for row in training],
                texts,
                max_prompt_tokens=self._max_prompt_tokens,
                max_new_tokens=self._max_new_tokens,
            )
            return [example.input_ids for example in examples]

        return {
            "chosen_ids": ids([row.chosen for row in training]),
            "rejected_ids": ids([row.rejected for row in training]),
        }

    def _trainer(
        self, model: Any, tokenizer: Any, rows: dict[str, list[list[int]]], context: "Context"
    ) -> Any:
        from datasets import Dataset
        from trl import RewardConfig, RewardTrainer

        from farm.training.trainer import TokenIdTrainer, arguments

        class Trainer(TokenIdTrainer, RewardTrainer):
            pass

        return Trainer(
            model,
            arguments(
                RewardConfig,
                self._schedule,
                context,
                steps=self._schedule.steps(len(rows["chosen_ids"])),
                resume_every=self._resume_every,
            ),
            train_dataset=Dataset.from_dict(rows),
            processing_class=tokenizer,
        )

    def _note_validation(
        self, scorer: "RewardModelScorer", validation: Sequence[Preference], context: "Context"
    ) -> None:
        instructions = [row.instruction for row in validation]
        chosen = scorer.score(instructions, [row.chosen for row in validation])
        rejected = scorer.score(instructions, [row.rejected for row in validation])
        agreeing, pairs = int(np.sum(chosen > rejected)), len(validation)
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
