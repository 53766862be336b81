"""The chat format: the only place that knows how messages become token ids.

A prompt is the template's rendering with its generation prompt; an answer is its text and the one
id that the template puts after an assistant's turn. Training examples are these two, concatenated,
so masks are exact and nothing ever searches for markers. Tokenizers without a chat template get
`PLAIN_TEMPLATE`, the prompt shape of Alpaca (github.com/tatsu-lab/stanford_alpaca).

What templates do differently is found once per tokenizer by rendering probes (`_Format`): which id
ends a turn, what stands between the generation prompt and the answer, whether there is a system
role. Special tokens that occur in contents are split by a space: data never opens or ends a turn.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import Any

from farm.errors import ConfigError, DataError
from farm.types import Message

Conversation = Sequence[Message]

PLAIN_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' -%}{{ message['content'] + '\\n\\n' }}"
    "{%- elif message['role'] == 'user' -%}"
    "{{ '### Instruction:\\n' + message['content'] + '\\n\\n### Response:\\n' }}"
    "{%- else -%}{{ message['content'] + eos_token + '\\n\\n' }}"
    "{%- endif -%}"
    "{%- endfor -%}"
)
"""Without the sentence in front and the `### Input:` part: an input is part of the user's turn."""

_TEMPLATE_VARIABLES = {
    "enable_thinking": False,  # Qwen 3: an empty thinking block, so the answer starts at once
    "date_string": "26 Jul 2024",  # Llama 3: its own default; otherwise today's date gets in
}
_SYSTEM, _USER, _ANSWER = "sysprobe", "userprobe", "answerprobe"


@dataclass(frozen=True)
class Example:
    """One training example: a prompt and its answer."""

    input_ids: list[int]
    labels_mask: list[bool]
    """True on the answer's tokens and its end id."""


@dataclass(frozen=True)
class _Format:
    """What the probes found out about a tokenizer's template."""

    template: str
    has_system_role: bool
    lead: str
    """What stands between the generation prompt and the answer's text."""
    anchor: str
    """End of every generation prompt, from its last special token on: answers are tokenized
    behind it, because some tokenizers treat the start of a text differently."""
    anchor_ids: tuple[int, ...]
    end_id: int
    special: re.Pattern[str]
    """Matches the special tokens' texts."""


def template(tokenizer: Any) -> str:
    """The tokenizer's chat template, or `PLAIN_TEMPLATE` behind the BOS that it prepends itself."""
    if tokenizer.chat_template:
        text: str = tokenizer.get_chat_template()
        return text
    if tokenizer.eos_token is None:
        raise ConfigError(
            "model: the tokenizer has neither a chat template nor an eos token, so answers could "
            "not end; set one of them in tokenizer_config.json."
        )
    bos_id = tokenizer.bos_token_id
    adds_bos = bos_id is not None and tokenizer("a")["input_ids"][0] == bos_id
    return ("{{ bos_token }}" if adds_bos else "") + PLAIN_TEMPLATE


def prompt_ids(tokenizer: Any, messages: Conversation) -> list[int]:
    """Ids of the prompt, generation prompt included. At most one BOS."""
    return prompts_ids(tokenizer, [messages])[0]


def prompts_ids(
    tokenizer: Any, conversations: Sequence[Conversation], *, max_prompt_tokens: int | None = None
) -> list[list[int]]:
    """`prompt_ids` of many conversations, each cut to `max_prompt_tokens` by `truncate_prompt`."""
    form = _format(tokenizer)
    chats = [_chat(form, messages) for messages in conversations]
    prompts = _encode(tokenizer, _render(tokenizer, form.template, chats, generation=True))
    prompts = [_single_bos(tokenizer, ids) for ids in prompts]
    if max_prompt_tokens is None:
        return prompts
    return [truncate_prompt(tokenizer, ids, max_prompt_tokens) for ids in prompts]


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
    form = _format(tokenizer)
    contents = [form.lead + _as_text(form, text) for text in texts]
    n = len(form.anchor_ids)
    behind = _encode(tokenizer, [form.anchor + content for content in contents])
    # A token that spans prompt and answer cannot be sampled: such answers are tokenized alone.
    spanning = [i for i, ids in enumerate(behind) if tuple(ids[:n]) != form.anchor_ids]
    answers = [ids[n:] for ids in behind]
    for i, ids in zip(spanning, _encode(tokenizer, [contents[i] for i in spanning]), strict=True):
        answers[i] = ids
    return [[*ids, form.end_id] for ids in answers]


def end_id(tokenizer: Any) -> int:
    """The id that `response_ids` appends: the one the template puts after an assistant's turn."""
    return _format(tokenizer).end_id


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
    lead = _format(tokenizer).lead
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
) -> list[Example]:
    """`example` of many aligned conversations and answers."""
    prompts = prompts_ids(tokenizer, conversations, max_prompt_tokens=max_prompt_tokens)
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


def _format(tokenizer: Any) -> _Format:
    return _probe(tokenizer, template(tokenizer))


@lru_cache(maxsize=16)
def _probe(tokenizer: Any, template: str) -> _Format:
    user = {"role": "user", "content": _USER}
    answer = {"role": "assistant", "content": _ANSWER}
    prompt = _render(tokenizer, template, [[user]], generation=True)[0]
    full = _render(tokenizer, template, [[user, answer]], generation=False)[0]
    before, found, after = full.partition(_ANSWER)
    if not found or _USER not in prompt:
        raise ConfigError("model: the tokenizer's chat template does not write out the messages.")
    special = _special_pattern(tokenizer)
    anchor = prompt.partition(_USER)[2]
    last = max((match.start() for match in special.finditer(anchor)), default=0)
    anchor = anchor[last:]
    return _Format(
        template=template,
        has_system_role=_has_system_role(tokenizer, template),
        lead=before.removeprefix(prompt) if before.startswith(prompt) else "",
        anchor=anchor,
        anchor_ids=tuple(_encode(tokenizer, [anchor])[0]) if anchor else (),
        end_id=_first_special(tokenizer, after),
        special=special,
    )


def _special_pattern(tokenizer: Any) -> re.Pattern[str]:
    names = [str(t) for t in tokenizer.added_tokens_decoder.values() if t.special]
    return re.compile("|".join(re.escape(name) for name in sorted(names, reverse=True)) or r"(?!)")


def _first_special(tokenizer: Any, text: str) -> int:
    special = {id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    ids = _encode(tokenizer, [text])[0] if text else []
    end: int | None = next((id for id in ids if id in special), tokenizer.eos_token_id)
    if end is None:
        raise ConfigError(
            "model: no token ends an assistant's turn in the chat template, and the tokenizer has "
            "no eos token; set eos_token in tokenizer_config.json."
        )
    return end


def _has_system_role(tokenizer: Any, template: str) -> bool:
    import jinja2

    chat = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _USER}]
    try:
        return _SYSTEM in _apply(tokenizer, template, [chat], generation=True)[0]
    except jinja2.TemplateError:
        return False


def _chat(form: _Format, messages: Conversation) -> list[dict[str, str]]:
    """The messages as the template takes them: a system's text joins the first user's turn where
    there is no system role."""
    chat = [{"role": m.role, "content": _as_text(form, m.content)} for m in messages]
    if form.has_system_role or not chat or chat[0]["role"] != "system":
        return chat
    system, user, *rest = chat
    return [{"role": "user", "content": f"{system['content']}\n\n{user['content']}"}, *rest]


def _as_text(form: _Format, text: str) -> str:
    return form.special.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)


def _render(
    tokenizer: Any, template: str, chats: list[list[dict[str, str]]], *, generation: bool
) -> list[str]:
    import jinja2

    try:
        return _apply(tokenizer, template, chats, generation=generation)
    except jinja2.TemplateError as error:
        raise DataError(
            f"the model's chat template refuses the messages: {error}. A chat is an optional "
            "system message, then user and assistant in turn, the user last."
        ) from error


def _apply(
    tokenizer: Any, template: str, chats: list[list[dict[str, str]]], *, generation: bool
) -> list[str]:
    if not chats:
        return []
    texts: list[str] = tokenizer.apply_chat_template(
        chats,
        chat_template=template,
        tokenize=False,
        add_generation_prompt=generation,
        **_TEMPLATE_VARIABLES,
    )
    return texts


def _encode(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return ids


def _single_bos(tokenizer: Any, ids: list[int]) -> list[int]:
    """Some templates write a BOS twice, as some tokenizers add one even where told not to."""
    bos = tokenizer.bos_token_id
    return ids[1:] if bos is not None and ids[:2] == [bos, bos] else ids


def _before(ids: Sequence[int], stops: frozenset[int]) -> list[int]:
    return list(takewhile(lambda id: id not in stops, ids))
