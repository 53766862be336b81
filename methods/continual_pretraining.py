"""Continual pre-training on raw text, and the stability gap (Guo et al. 2024, arXiv 2406.14833).

Maximises sum_t log p(x_t | x_<t) over windows of documents laid end to end, as models are
pre-trained; a document sees nothing of those in front of it. `method.corpus` says which documents,
pass by pass (`methods.corpora`). Conversations are documents like others, learned from their first
token to their last.
The paper used AdamW with weight decay 0.01, cosine with warm-up 0.1, windows of 2,048 tokens, and
learning rate 3e-5 for 3 B parameters, 3e-4 for 1.1 B; the defaults here suit a model a thousand
times smaller.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, ClassVar

from farm.checks import require_at_least
from farm.errors import DataError
from farm.protocols import TextSource
from farm.training.offline import LossLearner, learn_policy
from farm.types import Inputs, Instruction, Need, PolicyRef
from methods.corpora import Corpus, Documents, FullPass, Library, windows

if TYPE_CHECKING:
    from farm.context import Context
    from farm.training.loss_trainer import RowLosses


@dataclass(frozen=True, kw_only=True)
class ContinualPretraining(LossLearner):
    """Learns from raw text. Rows are windows; a pass (`epochs`) is as many as its documents fill.
    Metrics: loss (nats per token), entropy (nats per token). `corpus.json` in the work folder
    counts documents and tokens.

    Raises `ConfigError` for values out of range and `DataError` where there is no text.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"text", "demonstrations"})

    text: TextSource | None = None
    """The new domain's; None: `inputs.text`."""
    original: TextSource | None = None
    """Of the distribution that the policy has learned; None: the conversations of
    `inputs.demonstrations`."""
    reference: TextSource | None = None
    """Of the new domain and known to be good, for a corpus that chooses by quality."""
    corpus: Corpus = field(default_factory=FullPass)
    window_tokens: int | None = None
    """Length of a row; None: `max_prompt_tokens` + `max_new_tokens`."""
    learning_rate: float = 1e-3
    batch_size: int = 16
    warmup_ratio: float = 0.1
    weight_decay: float = 0.01
    checkpoint_every: int | None = 20
    """Steps between policies that are evaluated; None: only the last."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("window_tokens", self.window_tokens, 2)
        require_at_least("checkpoint_every", self.checkpoint_every, 1)

    def fit(self, start: PolicyRef, inputs: Inputs, context: "Context") -> PolicyRef:
        """The policy that has read on."""
        policy = context.work / "policy"
        if not policy.exists():
            self._fit(start, inputs, context)
        return PolicyRef(str(policy), start.decoding)

    def _fit(self, start: PolicyRef, inputs: Inputs, context: "Context") -> None:
        from farm.models.load import load_policy, load_tokenizer

        tokenizer = load_tokenizer(start.path)
        rows = self._windows(self._library(tokenizer, inputs), context)
        model = load_policy(start.path, context.device)
        learn_policy(
            self,
            context.tuning.apply(model, seed=context.seed),
            tokenizer,
            lambda model, batch: window_losses(model, [rows[row] for row in batch]),
            [self._window_tokens] * len(rows),
            context,
            checkpoint_every=self.checkpoint_every,
            order=range(len(rows)),  # as they were drawn
        )

    @property
    def _window_tokens(self) -> int:
        return self.window_tokens or self.max_prompt_tokens + self.max_new_tokens

    def _library(self, tokenizer: Any, inputs: Inputs) -> Library:
        from farm.models.chat import documents_ids

        texts = (inputs.text or ()) if self.text is None else self.text.texts()
        if not texts:
            raise DataError("there is no raw text to learn from: give method.text a source.")
        if self.original is None:
            original = self._conversations(tokenizer, inputs.demonstrations or ())
        else:
            original = documents_ids(tokenizer, self.original.texts())
        reference = () if self.reference is None else self.reference.texts()
        return Library(
            domain=documents_ids(tokenizer, texts),
            original=original,
            reference=documents_ids(tokenizer, reference),
        )

    def _conversations(self, tokenizer: Any, demonstrations: Sequence[Instruction]) -> Documents:
        from farm.models import chat

        answered = [(i.messages, i.demonstration) for i in demonstrations if i.demonstration]
        examples = chat.examples(
            tokenizer,
            [messages for messages, _ in answered],
            [text for _, text in answered],
            max_prompt_tokens=self.max_prompt_tokens,
            max_new_tokens=self.max_new_tokens,
        )
        return [example.input_ids for example in examples]

    def _windows(self, library: Library, context: "Context") -> list[Documents]:
        """Those of all steps, in their order."""
        size = self._window_tokens
        passes = self.corpus.passes(library, seed=context.seed)
        first = next(passes)
        tokens = sum(map(len, first))
        steps = self.steps(max(1, tokens // size))
        read = {"documents_per_pass": len(first), "tokens_per_pass": tokens}
        learned = steps * self.batch_size * size
        context.keep("corpus.json", json.dumps({**read, "tokens": learned}))
        every = windows(chain([first], passes), size, seed=context.seed)
        return list(islice(every, steps * self.batch_size))


def window_losses(model: Any, windows: Sequence[Documents]) -> "RowLosses":
    """The mean of -log p over the tokens of each window's documents but the first of each."""
    import torch

    from farm.training.answer_logprobs import answer_logprobs
    from farm.training.loss_trainer import RowLosses

    parts = [(n, ids) for n, window in enumerate(windows) for ids in window if len(ids) > 1]
    found = answer_logprobs(model, [ids[:1] for _, ids in parts], [ids[1:] for _, ids in parts])
    of_B = torch.tensor([n for n, _ in parts], device=found.sums_B.device)
    sums_W = found.sums_B.new_zeros(len(windows)).index_add(0, of_B, found.sums_B)
    tokens_W = found.tokens_B.new_zeros(len(windows)).index_add(0, of_B, found.tokens_B)
    return RowLosses(-sums_W / tokens_W.clamp(min=1), {"entropy": found.entropies_N})
