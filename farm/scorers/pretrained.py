"""Scores of a reward model that exists already, with a tokenizer and a chat template of its own."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from farm.checks import require_at_least
from farm.errors import ConfigError
from farm.models.checkpoint import Checkpoint
from farm.protocols import FloatArray
from farm.scorers.reward_model import OutputWeights, head_outputs, output_weights
from farm.types import Instruction


class PretrainedRewardModel:
    """A `Scorer`: any decoder with a head for sequence classification that transformers loads.

    Instructions and answers are text: the model's own template writes the whole conversation, what
    closes the answer's turn included, and the head reads the last of its tokens that is not the
    model's own pad token, which may be the one that ends turns: what transformers gives for this
    conversation alone. An answer that sampling cut looks as if it had ended. Conversations lose
    tokens on their left beyond `max_tokens`, which should hold the longest answer.

    `path` is a directory or a hub name, `revision` a branch, tag or commit on the hub; `weights` is
    as in `RewardModelScorer`. Scores are in the units of the model's training. The model is loaded
    in float32 on first use, and raises ConfigError where it is no sequence classifier, its head
    reads something else than the last token, it has no chat template or fewer positions than
    `max_tokens`, or where weights and outputs do not fit.
    """

    stage_version: ClassVar[int] = 1
    # A directory counts by its content, a hub name by the commit that `revision` is pinned to.
    key_excludes: ClassVar[frozenset[str]] = frozenset({"path", "tokens_per_batch", "device"})

    def __init__(
        self,
        path: str,
        *,
        max_tokens: int,
        revision: str | None = None,
        weights: OutputWeights | None = None,
        tokens_per_batch: int = 4096,
        device: str | None = None,
    ) -> None:
        require_at_least("max_tokens", max_tokens, 1)
        require_at_least("tokens_per_batch", tokens_per_batch, 1)
        self._checkpoint = Checkpoint(path, revision, "reward")
        self._max_tokens = max_tokens
        self._weights = weights
        self._tokens_per_batch = tokens_per_batch
        self._device = device

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        """Scores [N]; never NaN."""
        if not completions:
            return np.empty(0)
        weights_K = output_weights(self._weights, self._model.config, self._checkpoint.path)
        rows = self._rows(instructions, completions)
        fill = self._tokenizer.pad_token_id
        return head_outputs(self._model, rows, fill, self._tokens_per_batch) @ weights_K

    def pinned(self) -> dict[str, str]:
        """The directory as seen from anywhere, or the revision as the hub's commit."""
        if self._checkpoint.is_local:
            return {"path": str(Path(self._checkpoint.path).resolve())}
        return self._checkpoint.pinned()

    def resolved(self) -> dict[str, str]:
        """The hash of a directory's content."""
        return self._checkpoint.resolved()

    def _rows(
        self, instructions: Sequence[Instruction], completions: Sequence[str]
    ) -> list[list[int]]:
        from farm.models.chat import truncate_prompt
        from farm.models.chat_template import as_text, encode, format_of, render, turns

        form = format_of(self._tokenizer)
        chats = [
            [*turns(form, i.messages), {"role": "assistant", "content": as_text(form, text)}]
            for i, text in zip(instructions, completions, strict=True)
        ]
        texts = render(self._tokenizer, form.template, chats, generation=False)
        return [
            truncate_prompt(self._tokenizer, _read(ids, self._own_pad_id), self._max_tokens)
            for ids in encode(self._tokenizer, texts)
        ]

    @cached_property
    def _own_pad_id(self) -> int | None:
        from farm.models.load import load_config

        pad_id: int | None = load_config(self._checkpoint.folder).get_text_config().pad_token_id
        return pad_id

    @cached_property
    def _tokenizer(self) -> Any:
        from farm.models.load import has_chat_template, load_tokenizer

        if not has_chat_template(self._checkpoint.folder):
            raise ConfigError(
                f"reward: {self._checkpoint.path} has no chat template, so the form in which it "
                "read conversations in training is not known. Add the template to its directory "
                "as chat_template.jinja, or choose a model that comes with one."
            )
        return load_tokenizer(self._checkpoint.folder)

    @cached_property
    def _model(self) -> Any:
        from farm.models.load import load_reward_model

        self._checkpoint.check_positions(self._max_tokens, "reward.max_tokens")
        model = load_reward_model(self._checkpoint.folder, self._device, outputs=None)
        if not hasattr(model, "score"):  # what transformers calls a head on the last token
            raise ConfigError(
                f"reward: {self._checkpoint.path} is a {type(model).__name__}, whose head does "
                "not read the last token of a conversation. Choose a decoder."
            )
        return model


def _read(ids: list[int], pad_id: int | None) -> list[int]:
    """The tokens up to the one that the head reads."""
    last = next((n for n, id in enumerate(reversed(ids)) if id != pad_id), 0)
    return ids[: len(ids) - last]
