"""Scores of a trained reward model."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from farm.artifacts import content_hash
from farm.checks import require_at_least
from farm.errors import ConfigError
from farm.protocols import FloatArray
from farm.targets import suggest
from farm.types import Instruction

OutputWeights = Sequence[float] | Mapping[str, float]
"""How much each output counts in a score: one number each, or some of them by name."""


class RewardModelScorer:
    """A directory that transformers loads for sequence classification.

    The score is the head's output at the answer's last token, in the units of its training: for
    a Bradley-Terry model, differences are log-odds of being preferred. Of a head with several
    outputs, such as one for each attribute of an answer, it is their sum weighted by `weights`;
    names are the config's `id2label`. Prompts and answers are cut as in training. The model is
    loaded once, on first use, and raises ConfigError where weights and outputs do not fit.
    """

    stage_version: ClassVar[int] = 1
    # The path stays in the key beside the content, since artefacts point to the directory.
    key_excludes: ClassVar[frozenset[str]] = frozenset({"tokens_per_batch", "device"})

    def __init__(
        self,
        path: str,
        *,
        max_prompt_tokens: int,
        max_new_tokens: int,
        weights: OutputWeights | None = None,
        tokens_per_batch: int = 4096,
        device: str | None = None,
    ) -> None:
        require_at_least("max_prompt_tokens", max_prompt_tokens, 1)
        require_at_least("max_new_tokens", max_new_tokens, 1)
        require_at_least("tokens_per_batch", tokens_per_batch, 1)
        self.path = path
        self._max_prompt_tokens = max_prompt_tokens
        self._max_new_tokens = max_new_tokens
        self._weights = weights
        self._tokens_per_batch = tokens_per_batch
        self._device = device

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        """Scores [N]; never NaN."""
        from farm.models import chat

        if not completions:
            return np.empty(0)
        examples = chat.examples(
            self._tokenizer,
            [instruction.messages for instruction in instructions],
            completions,
            max_prompt_tokens=self._max_prompt_tokens,
            max_new_tokens=self._max_new_tokens,
        )
        return self.score_ids([example.input_ids for example in examples])

    def score_ids(self, rows: Sequence[Sequence[int]]) -> FloatArray:
        """Scores [N] of rows that are token ids already: prompt, answer, end id."""
        weights_K = output_weights(self._weights, self._model.config, self.path)
        fill = self._tokenizer.pad_token_id
        return head_outputs(self._model, rows, fill, self._tokens_per_batch) @ weights_K

    def resolved(self) -> dict[str, str]:
        """The hash of the directory's content."""
        return {"path": content_hash(Path(self.path))}

    @cached_property
    def _tokenizer(self) -> Any:
        from farm.models.load import load_tokenizer

        return load_tokenizer(self.path)

    @cached_property
    def _model(self) -> Any:
        from farm.models.load import load_reward_model

        return load_reward_model(self.path, self._device, outputs=None)


def head_outputs(
    model: Any, rows: Sequence[Sequence[int]], fill: int, tokens_per_batch: int
) -> FloatArray:
    """The head's outputs at the rows' last tokens, [N, outputs]; rows are token ids, `fill` the pad
    id."""
    import torch

    from farm.training.batches import length_batches, padded_ids

    outputs_N_K = np.empty((len(rows), model.config.num_labels))
    with torch.inference_mode():
        for batch in length_batches([len(row) for row in rows], tokens_per_batch):
            # The head reads the last token that is not padding: no attention mask is needed.
            ids_B_T = torch.from_numpy(padded_ids([rows[i] for i in batch], fill))
            logits_B_K = model(input_ids=ids_B_T.to(model.device)).logits
            outputs_N_K[batch] = logits_B_K.double().cpu().numpy()
    return outputs_N_K


def output_weights(weights: OutputWeights | None, config: Any, path: str) -> FloatArray:
    """The weight of each of the head's outputs, [outputs]; of a single output without `weights`, 1.
    Raises ConfigError where they do not fit."""
    names = [str(config.id2label[number]) for number in range(config.num_labels)]
    if isinstance(weights, Mapping):
        for name in weights:
            if name not in names:
                raise ConfigError(
                    f"weights.{name}: {path} has no such output. {suggest(name, names)}"
                )
        return np.array([weights.get(name, 0.0) for name in names])
    if weights is None and len(names) > 1:
        raise ConfigError(
            f"weights=null: {path} scores answers by {len(names)} outputs ({', '.join(names)}). "
            "Say how much each counts, by a list of numbers or by name."
        )
    found = np.array([1.0] if weights is None else weights)
    if len(found) != len(names):
        raise ConfigError(
            f"weights={found.tolist()}: {path} has {len(names)} outputs ({', '.join(names)}); give "
            "a number for each."
        )
    return found
