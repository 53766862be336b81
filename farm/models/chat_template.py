"""What a tokenizer's chat template does: rendering it, and probing it once for its habits.

Templates differ in which id ends a turn, in what stands between the generation prompt and the
answer, and in whether there is a system role; rendering probes finds it out. Tokenizers without a
template get `PLAIN_TEMPLATE`, the prompt shape of Alpaca (github.com/tatsu-lab/stanford_alpaca).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from farm.errors import ConfigError, DataError
from farm.types import Message

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
class Format:
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


def format_of(tokenizer: Any) -> Format:
    """The tokenizer's habits, probed once for each template and number of tokens."""
    return _probe(tokenizer, template(tokenizer), len(tokenizer))


@lru_cache(maxsize=16)
def _probe(tokenizer: Any, template: str, tokens: int) -> Format:
    user = {"role": "user", "content": _USER}
    answer = {"role": "assistant", "content": _ANSWER}
    prompt = render(tokenizer, template, [[user]], generation=True)[0]
    full = render(tokenizer, template, [[user, answer]], generation=False)[0]
    before, found, after = full.partition(_ANSWER)
    if not found or _USER not in prompt:
        raise ConfigError("model: the tokenizer's chat template does not write out the messages.")
    special = _special_pattern(tokenizer)
    anchor = prompt.partition(_USER)[2]
    last = max((match.start() for match in special.finditer(anchor)), default=0)
    anchor = anchor[last:]
    return Format(
        template=template,
        has_system_role=_has_system_role(tokenizer, template),
        lead=before.removeprefix(prompt) if before.startswith(prompt) else "",
        anchor=anchor,
        anchor_ids=tuple(encode(tokenizer, [anchor])[0]) if anchor else (),
        end_id=_first_special(tokenizer, after),
        special=special,
    )


def _special_pattern(tokenizer: Any) -> re.Pattern[str]:
    names = [str(t) for t in tokenizer.added_tokens_decoder.values() if t.special]
    return re.compile("|".join(re.escape(name) for name in sorted(names, reverse=True)) or r"(?!)")


def _first_special(tokenizer: Any, text: str) -> int:
    special = {id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    ids = encode(tokenizer, [text])[0] if text else []
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


def turns(form: Format, messages: Sequence[Message]) -> list[dict[str, str]]:
    """The messages as the template takes them: a system's text joins the first user's turn where
    there is no system role."""
    chat = [{"role": m.role, "content": as_text(form, m.content)} for m in messages]
    if form.has_system_role or not chat or chat[0]["role"] != "system":
        return chat
    system, user, *rest = chat
    return [{"role": "user", "content": f"{system['content']}\n\n{user['content']}"}, *rest]


def as_text(form: Format, text: str) -> str:
    """The text with each special token's name split by a space."""
    return form.special.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)


def render(
    tokenizer: Any, template: str, chats: list[list[dict[str, str]]], *, generation: bool
) -> list[str]:
    """The template's text of each chat. Raises DataError where the template refuses one."""
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


def encode(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """Token ids of texts that hold their special tokens themselves."""
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return ids
