"""Rows of the Alpaca schema, or with `messages`, as instructions."""

from collections.abc import Mapping
from typing import Any

from farm.data.records import make_instruction, user_instruction
from farm.types import Instruction, Message


class RowError(ValueError):
    """What is wrong with a row and what would be right; its reader adds file and line."""


def instruction_of(row: Any) -> Instruction:
    """The instruction of a row.

    Either `messages`, a list of {role, content} with an optional system turn first, user and
    assistant in turn; or `instruction` with an optional `input` (joined by an empty line). The
    demonstration is a final assistant's turn, or else `output`, where there is one.
    `category` (`dataset` in AlpacaFarm's evaluation file) and `source` are kept, other keys are not
    read. Raises RowError.
    """
    if not isinstance(row, Mapping):
        raise RowError(f"it is {_show(row)}; right would be an object with `instruction`.")
    labels = {
        "category": _optional_text(row, "category") or _optional_text(row, "dataset"),
        "source": _optional_text(row, "source"),
    }
    if row.get("messages") is not None:
        messages = _messages(row["messages"])
        demonstration = _optional_text(row, "output")
        if messages[-1].role == "assistant":
            demonstration = messages.pop().content
        _check_turns(messages)
        return make_instruction(messages, demonstration, **labels)
    if "instruction" not in row:
        found = ", ".join(map(str, row)) or "no keys"
        raise RowError(f"it has {found}; right would be `instruction` or `messages`.")
    text = _text(row["instruction"], "instruction")
    shown = _first_instance(row["instances"]) if "instances" in row else row
    given = _optional_text(shown, "input")
    prompt = text if given is None else f"{text}\n\n{given}"
    return user_instruction(prompt, _optional_text(shown, "output"), **labels)


def _first_instance(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, list) or not value or not isinstance(value[0], Mapping):
        raise RowError(
            f"`instances` is {_show(value)}; right would be a list of objects with `input` and "
            "`output`."
        )
    return value[0]


def _messages(value: Any) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise RowError(
            f"`messages` is {_show(value)}; right would be a list of objects with role and content."
        )
    messages = []
    for number, entry in enumerate(value, start=1):
        if not isinstance(entry, Mapping) or not {"role", "content"} <= set(entry):
            raise RowError(f"message {number} is {_show(entry)}; it needs role and content.")
        if entry["role"] not in ("system", "user", "assistant"):
            raise RowError(
                f"message {number} has the role {_show(entry['role'])}; right would be system, "
                "user or assistant."
            )
        messages.append(
            Message(entry["role"], _text(entry["content"], f"content of message {number}"))
        )
    return messages


def _check_turns(messages: list[Message]) -> None:
    roles = [message.role for message in messages]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    alternating = [("user", "assistant")[index % 2] for index in range(len(turns))]
    if turns != alternating or len(turns) % 2 == 0:
        raise RowError(
            f"the roles are {', '.join(roles) or 'assistant alone'}; right would be user and "
            "assistant in turn, a user's turn last but for the demonstration, a system turn only "
            "at the beginning."
        )


def _optional_text(row: Mapping[str, Any], key: str) -> str | None:
    value = row.get(key)
    return None if value is None or value == "" else _text(value, key)


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise RowError(f"`{key}` is {_show(value)}; it must be text.")
    if not value.strip():
        raise RowError(f"`{key}` is empty; it must be text.")
    return value


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
