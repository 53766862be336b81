"""The chat format: how messages become token ids, in one place.

A prompt is the template's rendering with its generation prompt; an answer is its text and the one
id that the template puts after an assistant's turn. Training examples are these two, concatenated,
so masks are exact and nothing ever searches for markers. Special tokens that occur in contents are
split by a space: data never opens or ends a turn. What a tokenizer's template does is found out in
`farm.models.chat_template`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from farm.models.chat_template import as_text, encode, format_of, render, turns
from farm.types import Message

Conversation = Sequence[Message]


@dataclass(frozen=True)
class Example:
    """One training example: a prompt and its answer."""

    input_ids: list[int]
    labels_mask: list[bool]
    """True on the answer's tokens and its end id."""


def prompt_ids(tokenizer: Any, messages: Conversation) -> list[int]:
    """Ids of the prompt, generation prompt included. At most one BOS."""
    return prompts_ids(tokenizer, [messages])[0]


def prompts_ids(
    tokenizer: Any,
    conversations: Sequence[Conversation],
    *,
    max_prompt_tokens: int | None = None,
    control: str | None = None,
) -> list[list[int]]:
    """`prompt_ids` of many conversations, each cut by `truncate_prompt` so that it has at most
    `max_prompt_tokens` with the special token `control`, if any, in front of it."""
    form = format_of(tokenizer)
    chats = [turns(form, messages) for messages in conversations]
    prompts = encode(tokenizer, render(tokenizer, form.template, chats, generation=True))
    prompts = [_single_bos(tokenizer, ids) for ids in prompts]
    if max_prompt_tokens is not None:
        room = max_prompt_tokens - (control is not None)
        prompts = [truncate_prompt(tokenizer, ids, room) for ids in prompts]
    if control is not None:
        prompts = [_with_control(tokenizer, ids, control) for ids in prompts]
    return prompts


def truncate_prompt(tokenizer: Any, ids: Sequence[int], max_prompt_tokens: int) -> list[int]:
    """The last `max_prompt_tokens` ids; a BOS in front stays there."""
    if len(ids) <= max_prompt_tokens:
        return list(ids)
    if ids[0] == tokenizer.bos_token_id and max_prompt_tokens > 1:
        return [ids[0], *ids[len(ids) - max_prompt_tokens + 1 :]]
    return list(ids[len(ids) - max_prompt_tokens :])


def response_ids(tokenizer: Any, text: str) -> list[int]:
    """Ids of the answer and, exactly once, the id that ends it."""
    return responses_ids(tokenizer, [text])[0]


def responses_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """`response_ids` of many answers."""
    form = format_of(tokenizer)
    contents = [form.lead + as_text(form, text) for text in texts]
    n = len(form.anchor_ids)
    behind = encode(tokenizer, [form.anchor + content for content in contents])
    # A token that spans prompt and answer cannot be sampled: such answers are tokenized alone.
    spanning = [i for i, ids in enumerate(behind) if tuple(ids[:n]) != form.anchor_ids]
    answers = [ids[n:] for ids in behind]
    for i, ids in zip(spanning, encode(tokenizer, [contents[i] for i in spanning]), strict=True):
        answers[i] = ids
    return [[*ids, form.end_id] for ids in answers]


def documents_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Ids of raw texts, as models are pre-trained on them: a BOS where the tokenizer itself puts
    one in front, and the eos, exactly once, behind."""
    form, eos = format_of(tokenizer), tokenizer.eos_token_id
    if not texts:
        return []
    rows: list[list[int]] = tokenizer([as_text(form, text) for text in texts])["input_ids"]
    return [row if row[-1:] == [eos] else [*row, eos] for row in rows]


def end_id(tokenizer: Any) -> int:
    """The id that `response_ids` appends: the one the template puts after an assistant's turn."""
    return format_of(tokenizer).end_id


def stop_ids(tokenizer: Any) -> tuple[int, ...]:
    """All ids that end an answer: the end id, the eos, and those that the checkpoint's
    generation config names (`farm.models.load.load_tokenizer` keeps them on the tokenizer)."""
    declared = getattr(tokenizer, "declared_stop_ids", ())
    ids = {end_id(tokenizer), tokenizer.eos_token_id, *declared} - {None}
    return tuple(sorted(ids))


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of a sampled answer, up to its first stop id; special tokens do not show.

    SentencePiece's decoders drop a space in front.
    """
    return decode_batch(tokenizer, [ids])[0]


def decode_batch(tokenizer: Any, answers: Sequence[Sequence[int]]) -> list[str]:
    """`decode` of many answers."""
    stops = frozenset(stop_ids(tokenizer))
    lead = format_of(tokenizer).lead
    texts = tokenizer.batch_decode(
        [_before(ids, stops) for ids in answers],
        skip_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )
    return [text.removeprefix(lead) for text in texts]


def example(
    tokenizer: Any,
    messages: Conversation,
    text: str,
    *,
    max_prompt_tokens: int,
    max_new_tokens: int,
) -> Example:
    """One training example. The prompt loses tokens on its left, the answer on its right (and
    then has no end id: it did not end within the limit)."""
    return examples(
        tokenizer,
        [messages],
        [text],
        max_prompt_tokens=max_prompt_tokens,
        max_new_tokens=max_new_tokens,
    )[0]


def examples(
    tokenizer: Any,
    conversations: Sequence[Conversation],
    texts: Sequence[str],
    *,
    max_prompt_tokens: int,
    max_new_tokens: int,
    control: str | None = None,
) -> list[Example]:
    """`example` of many aligned conversations and answers; `control` as in `prompts_ids`."""
    prompts = prompts_ids(
        tokenizer, conversations, max_prompt_tokens=max_prompt_tokens, control=control
    )
    answers = responses_ids(tokenizer, texts)
    return [
        join(prompt, answer[:max_new_tokens])
        for prompt, answer in zip(prompts, answers, strict=True)
    ]


def join(prompt: list[int], answer: list[int]) -> Example:
    """The example of a prompt and an answer that are token ids already."""
    return Example(prompt + answer, [False] * len(prompt) + [True] * len(answer))


def describe(tokenizer: Any, example: Example) -> str:
    """One training example, decoded: what is only read, and what is learned."""
    parts: dict[bool, list[int]] = {False: [], True: []}
    for token, learned in zip(example.input_ids, example.labels_mask, strict=True):
        parts[learned].append(token)
    read, learned = (tokenizer.decode(parts[key]) for key in (False, True))
    return (
        f"read only ({len(parts[False])} tokens):\n{read}\n"
        f"learned ({len(parts[True])} tokens):\n{learned}"
    )


def _single_bos(tokenizer: Any, ids: list[int]) -> list[int]:
    """Some templates write a BOS twice, as some tokenizers add one even where told not to."""
    bos = tokenizer.bos_token_id
    return ids[1:] if bos is not None and ids[:2] == [bos, bos] else ids


def _with_control(tokenizer: Any, ids: list[int], control: str) -> list[int]:
    """The control token in front, behind a BOS."""
    bos = int(ids[:1] == [tokenizer.bos_token_id])
    return [*ids[:bos], tokenizer.convert_tokens_to_ids(control), *ids[bos:]]


def _before(ids: Sequence[int], stops: frozenset[int]) -> list[int]:
    return list(takewhile(lambda id: id not in stops, ids))
