"""Scores of a trained reward model."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from farm.artifacts import content_hash
from farm.checks import require_at_least
from farm.protocols import FloatArray
from farm.types import Instruction


class RewardModelScorer:
    """A directory that transformers loads for sequence classification with one output.

    The score is the head's output at the answer's last token, in the units of its training: for
    a Bradley-Terry model, differences are log-odds of being preferred. Prompts and answers are
    cut as in training. The model is loaded once, on first use.
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
        tokens_per_batch: int = 4096,
        device: str | None = None,
    ) -> None:
        require_at_least("max_prompt_tokens", max_prompt_tokens, 1)
        require_at_least("max_new_tokens", max_new_tokens, 1)
        require_at_least("tokens_per_batch", tokens_per_batch, 1)
        self.path = path
        self._max_prompt_tokens = max_prompt_tokens
        self._max_new_tokens = max_new_tokens
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
        import torch

        from farm.training.batches import length_batches, padded_ids

        model, fill = self._model, self._tokenizer.pad_token_id
        scores = np.empty(len(rows))
        with torch.inference_mode():
            for batch in length_batches([len(row) for row in rows], self._tokens_per_batch):
                # The head reads the last token that is not padding: no attention mask is needed.
                ids_B_T = torch.from_numpy(padded_ids([rows[i] for i in batch], fill))
                logits_B_1 = model(input_ids=ids_B_T.to(model.device)).logits
                scores[batch] = logits_B_1[:, 0].double().cpu().numpy()
        return scores

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

        return load_reward_model(self.path, self._device)
