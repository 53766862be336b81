"""Tokenizers that are trained on a run's own data, with chat templates."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol

from farm.errors import ConfigError

PAD, UNK, USER, ASSISTANT, SYSTEM, END = (
    "<pad>",
    "<unk>",
    "<user>",
    "<assistant>",
    "<system>",
    "<end>",
)
SPECIAL_TOKENS = (PAD, UNK, USER, ASSISTANT, SYSTEM, END)

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<' + message['role'] + '>' + message['content'] + '<end>' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<assistant>' }}{%- endif -%}"
)
"""One token in front of a turn and one behind it, so that prompts stay short."""


class TokenizerTrainer(Protocol):
    """How a tokenizer is made from texts; equal texts give equal tokenizers."""

    def train(self, texts: Iterable[str]) -> Any:
        """A fast transformers tokenizer with a chat template, pad and eos token."""
        ...


class WordLevel:
    """One token per word (what stands between spaces) and per line break.

    For small closed vocabularies: a word that the texts do not hold is `<unk>`. Runs of spaces are
    read as one. `chat_template` (Jinja, as transformers takes it) says how conversations are
    written.
    """

    def __init__(self, chat_template: str = CHAT_TEMPLATE) -> None:
        self.chat_template = chat_template

    def train(self, texts: Iterable[str]) -> Any:
        """A tokenizer of every word in the texts, the frequent ones first."""
        from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

        counts = Counter(
            word for text in texts for word in text.replace("\n", " \n ").split(" ") if word
        )
        words = sorted(counts.keys() - set(SPECIAL_TOKENS), key=lambda word: (-counts[word], word))
        vocabulary = {word: id for id, word in enumerate([*SPECIAL_TOKENS, *words])}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
        tokenizer.normalizer = normalizers.Replace("\n", " \n ")
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
        tokenizer.decoder = decoders.Sequence(
            [
                # A prefix no token begins with: each token but the first gets a space in front.
                decoders.WordPiece(prefix=" ", cleanup=False),
                decoders.Fuse(),
                decoders.Replace(" \n ", "\n"),
            ]
        )
        return _wrap(tokenizer, self.chat_template)


class ByteLevelBPE:
    """Byte-level byte-pair encoding (GPT-2's alphabet): any text, no unknown token.

    `vocab_size` counts the 256 bytes and the special tokens; at least 300.
    """

    def __init__(self, vocab_size: int) -> None:
        if vocab_size < 300:
            raise ConfigError(
                f"model.tokenizer.vocab_size={vocab_size}: must be at least 300 (256 bytes, the "
                "special tokens and some merges)."
            )
        self.vocab_size = vocab_size

    def train(self, texts: Iterable[str]) -> Any:
        """A tokenizer with at most `vocab_size` tokens."""
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return _wrap(tokenizer, CHAT_TEMPLATE)


def _wrap(tokenizer: Any, chat_template: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNK,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT, SYSTEM],
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = chat_template
    return wrapped
