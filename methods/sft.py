"""Supervised fine-tuning on demonstrations (Ouyang et al. 2022, arXiv 2203.02155, step 1).

Maximises sum_t log pi(y_t | x, y_<t) over the answer's tokens and its end id, averaged over the
batch's answer tokens; prompts are read, not learned. The loop is TRL's SFTTrainer.
AlpacaFarm's SFT10k (arXiv 2305.14387) used learning rate 2e-5, cosine, warm-up 3 %, 3 epochs,
batch 128, no weight decay, on LLaMA-7B; the defaults here suit a model a thousand times smaller.
As a method it is AlpacaFarm's SFT52k: the start goes on with demonstrations it has not seen.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from farm.checks import require_at_least
from farm.errors import DataError
from farm.training.offline import OfflineLearner
from farm.types import Inputs, Instruction, Need, PolicyRef

if TYPE_CHECKING:
    from farm.context import Context
    from farm.models.chat import Example
    from farm.training.trainer import CheckpointSave

logger = logging.getLogger(__name__)

IGNORED = -100
"""The label that TRL and torch leave out of the loss."""


@dataclass(frozen=True, kw_only=True)
class SFT(OfflineLearner):
    """Learns from `inputs.demonstrations`. Metrics: loss (nats per answer token), entropy (nats),
    accuracy (share of answer tokens that are the model's first choice).

    Raises `ConfigError` for values out of range and `DataError` where there are no demonstrations.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"demonstrations"})

    learning_rate: float = 2e-3
    epochs: float | None = 3.6
    batch_size: int = 64
    categories: Sequence[str] | None = None
    """Of the instructions whose demonstrations are learned; None: all."""
    checkpoint_every: int | None = None
    """Steps between policies that are evaluated; None: only the last."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("checkpoint_every", self.checkpoint_every, 1)

    def fit(self, start: PolicyRef, inputs: Inputs, context: "Context") -> PolicyRef:
        """The policy that answers as the demonstrations do."""
        policy = context.work / "policy"
        if not policy.exists():
            self._fit(start, inputs.demonstrations or (), context)
        return PolicyRef(str(policy), start.decoding)

    def _fit(
        self, start: PolicyRef, demonstrations: Sequence[Instruction], context: "Context"
    ) -> None:
        from farm.models.load import load_tokenizer, save_policy

        tokenizer = load_tokenizer(start.path)
        self.learn(
            self.model(start, context),
            tokenizer,
            self._examples(tokenizer, demonstrations),
            context,
            lambda model, path: save_policy(model, tokenizer, path),
        )

    def model(self, start: PolicyRef, context: "Context") -> Any:
        """What learns, as it is before the first step."""
        from farm.models.load import load_policy

        return load_policy(start.path, context.device)

    def learn(
        self,
        model: Any,
        tokenizer: Any,
        examples: "Sequence[Example]",
        context: "Context",
        save: "CheckpointSave",
    ) -> None:
        """Train `model` on the examples and publish it as `context.work / "policy"`; one of them
        is kept in `example.txt`."""
        from farm.models import chat
        from farm.training.trainer import publish, train

        shown = chat.describe(tokenizer, examples[0])
        context.keep("example.txt", shown + "\n")
        logger.info("one of %d training examples\n%s", len(examples), shown)
        model = context.tuning.apply(model, seed=context.seed)
        trainer = self._trainer(model, tokenizer, examples, context)
        train(
            trainer,
            context,
            lengths=[len(example.input_ids) for example in examples],
            names={"entropy": "entropy", "mean_token_accuracy": "accuracy"},
            checkpoint=save,
            checkpoint_every=self.checkpoint_every,
        )
        publish(context, "policy", lambda path: save(trainer.model, path))

    def _examples(self, tokenizer: Any, demonstrations: Sequence[Instruction]) -> "list[Example]":
        from farm.models import chat

        answered = [
            (i.messages, i.demonstration)
            for i in demonstrations
            if i.demonstration and (self.categories is None or i.category in self.categories)
        ]
        if not answered:
            raise DataError(self._nothing_to_learn(demonstrations))
        return chat.examples(
            tokenizer,
            [messages for messages, _ in answered],
            [text for _, text in answered],
            max_prompt_tokens=self.max_prompt_tokens,
            max_new_tokens=self.max_new_tokens,
        )

    def _nothing_to_learn(self, demonstrations: Sequence[Instruction]) -> str:
        if self.categories is None or not demonstrations:
            return "no instruction has a demonstration: supervised fine-tuning needs some."
        there = sorted({str(i.category) for i in demonstrations})
        return (
            f"no instruction of the categories {', '.join(self.categories)} has a demonstration. "
            f"There are {', '.join(there)}."
        )

    def _trainer(
        self, model: Any, tokenizer: Any, examples: "Sequence[Example]", context: "Context"
    ) -> Any:
        from datasets import Dataset
        from trl import SFTConfig, SFTTrainer

        from farm.training.trainer import TokenIdTrainer, arguments

        class Trainer(TokenIdTrainer, SFTTrainer):
            pass

        rows = {
            "input_ids": [example.input_ids for example in examples],
            "labels": [labels(example) for example in examples],
        }
        return Trainer(
            model,
            arguments(
                SFTConfig,
                self,
                context,
                steps=self.steps(len(examples)),
                resume_every=self.resume_every,
                max_length=None,
            ),
            train_dataset=Dataset.from_dict(rows),
            processing_class=tokenizer,
        )


def labels(example: "Example") -> list[int]:
    """The ids to learn, `IGNORED` on the prompt."""
    return [
        token if learned else IGNORED
        for token, learned in zip(example.input_ids, example.labels_mask, strict=True)
    ]
