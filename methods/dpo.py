"""Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290, equation 7).

Minimises -log sigmoid(r(y_chosen) - r(y_rejected)) for the implicit reward
r(y) = beta * (log pi(y | x) - log pi_start(y | x)), with log-probabilities summed over the answer's
tokens and its end id. The loop is TRL's DPOTrainer; the start policy's log-probabilities are
computed once, before the first step.
AlpacaFarm (arXiv 2305.14387) used beta 0.1, learning rate 1e-6, cosine, warm-up 3 %, 2 epochs,
batch 64, on LLaMA-7B; the defaults here suit a model a thousand times smaller.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from farm.checks import require, require_at_least
from farm.training.preferences import Preference, decided, note_labels
from farm.training.schedule import LearningRateSchedule, Schedule
from farm.types import Inputs, Need, PolicyRef

if TYPE_CHECKING:
    from farm.context import Context


class DPO:
    """Learns from `inputs.judgments` that prefer one answer; ties and missing verdicts are dropped
    and counted in `labels.json`.

    Metrics, over the batch's pairs: loss (nats), accuracy (share where the implicit reward of the
    chosen answer is higher), margin (mean difference of implicit rewards), entropy (nats per answer
    token). Raises `ConfigError` for values out of range and `DataError` where no judgment is left
    to learn from.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"judgments"})
    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset({"resume_every"})

    def __init__(
        self,
        *,
        max_prompt_tokens: int,
        max_new_tokens: int,
        beta: float = 0.1,
        learning_rate: float = 3e-4,
        epochs: float | None = 1.0,
        max_steps: int | None = None,
        batch_size: int = 128,
        warmup_ratio: float = 0.03,
        lr_schedule: LearningRateSchedule = "cosine",
        weight_decay: float = 0.0,
        max_grad_norm: float = 1.0,
        checkpoint_every: int | None = 20,
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
        require("beta", beta, "above 0", beta > 0)
        require_at_least("max_prompt_tokens", max_prompt_tokens, 1)
        require_at_least("max_new_tokens", max_new_tokens, 1)
        require_at_least("checkpoint_every", checkpoint_every, 1)
        require_at_least("resume_every", resume_every, 1)
        self._beta = beta
        self._max_prompt_tokens = max_prompt_tokens
        self._max_new_tokens = max_new_tokens
        self._checkpoint_every = checkpoint_every
        self._resume_every = resume_every

    def fit(self, start: PolicyRef, inputs: Inputs, context: "Context") -> PolicyRef:
        """The policy whose implicit reward explains the judgments."""
        policy = context.work / "policy"
        if not policy.exists():
            labels = decided(inputs.judgments or ())
            note_labels(labels, context.work)
            self._fit(start, labels.preferences, context)
        return PolicyRef(str(policy), start.decoding)

    def _fit(self, start: PolicyRef, preferences: Sequence[Preference], context: "Context") -> None:
        from farm.models.load import load_policy, load_tokenizer, save_policy
        from farm.training.trainer import publish, train

        tokenizer = load_tokenizer(start.path)
        rows = self._rows(tokenizer, preferences)
        model = context.tuning.apply(load_policy(start.path, context.device))
        trainer = self._trainer(model, tokenizer, rows, context)
        train(
            trainer,
            context,
            lengths=_lengths(rows),
            names={
                "rewards/accuracies": "accuracy",
                "rewards/margins": "margin",
                "entropy": "entropy",
            },
            checkpoint=lambda model, path: save_policy(model, tokenizer, path),
            checkpoint_every=self._checkpoint_every,
        )
        publish(context, "policy", partial(save_policy, trainer.model, tokenizer))

    def _rows(
        self, tokenizer: Any, preferences: Sequence[Preference]
    ) -> dict[str, list[list[int]]]:
        from farm.models import chat

        def answers(texts: list[str]) -> list[list[int]]:
            return [ids[: self._max_new_tokens] for ids in chat.responses_ids(tokenizer, texts)]

        return {
            "prompt_ids": chat.prompts_ids(
                tokenizer,
                [row.instruction.messages for row in preferences],
                max_prompt_tokens=self._max_prompt_tokens,
            ),
            "chosen_ids": answers([row.chosen for row in preferences]),
            "rejected_ids": answers([row.rejected for row in preferences]),
        }

    def _trainer(
        self, model: Any, tokenizer: Any, rows: dict[str, list[list[int]]], context: "Context"
    ) -> Any:
        from datasets import Dataset
        from trl import DPOConfig, DPOTrainer

        from farm.training.trainer import TokenIdTrainer, arguments

        class Trainer(TokenIdTrainer, DPOTrainer):
            def _precompute_ref_logps(self, dataset: Any, *_: Any) -> Any:
                return _with_start_logprobs(self, dataset, rows)

        return Trainer(
            model,
            args=arguments(
                DPOConfig,
                self._schedule,
                context,
                steps=self._schedule.steps(len(rows["prompt_ids"])),
                resume_every=self._resume_every,
                beta=self._beta,
                precompute_ref_log_probs=True,
            ),
            train_dataset=Dataset.from_dict(rows),
            processing_class=tokenizer,
        )


def _lengths(rows: dict[str, list[list[int]]]) -> list[int]:
    """Tokens of each pair's longer row."""
    return [
        len(prompt) + max(len(chosen), len(rejected))
        for prompt, chosen, rejected in zip(*rows.values(), strict=True)
    ]


def _with_start_logprobs(trainer: Any, dataset: Any, rows: dict[str, list[list[int]]]) -> Any:
    """What TRL's own version does, without its cache files and in batches of similar length."""
    import numpy as np

    from farm.training.batches import length_batches

    logprobs_N_2 = np.empty((len(dataset), 2), dtype=np.float32)
    for batch in length_batches(_lengths(rows), tokens_per_batch=8192):
        pairs = [{name: column[index] for name, column in rows.items()} for index in batch]
        inputs = trainer._prepare_inputs(trainer.data_collator(pairs))
        for side, logprobs in enumerate(trainer.compute_ref_log_probs(trainer.model, inputs)):
            logprobs_N_2[batch, side] = logprobs.cpu().numpy()
    dataset = dataset.add_column("ref_chosen_logps", logprobs_N_2[:, 0])
    return dataset.add_column("ref_rejected_logps", logprobs_N_2[:, 1])
