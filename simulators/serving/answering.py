"""From a chat request to an annotator and back: what a model would have answered.

A request is understood by its system text, which says which of the package's prompts it is; the
texts between the fences of its last turn are the pairs.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, Protocol

from farm.config import build
from farm.data.records import make_instruction, make_pair
from farm.errors import ConfigError
from farm.protocols import Annotator
from farm.targets import nodes
from farm.types import Message, Pair
from simulators.judges.fences import Text, read_fenced
from simulators.judges.parsers import (
    JsonVerdicts,
    Labels,
    Letter,
    Numbered,
    Parser,
    Ratings,
    Reasoned,
    Verdict,
)
from simulators.judges.template import load_template

NO_VERDICT = "I cannot tell."
"""What is answered where the annotator has no verdict; no parser reads it."""


class Refusal(Exception):
    """A request that is not answered: its HTTP status, and what OpenAI calls the reason."""

    def __init__(self, status: int, message: str, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Answer(NamedTuple):
    """What a model says."""

    content: str
    shares: tuple[tuple[str, float], ...] = ()
    """Where the answer is a label alone: each label's probability."""


class Skill(Protocol):
    """How a kind of prompt is answered."""

    labels: Labels
    """What its answers are called."""

    def answer(self, texts: Sequence[Text], annotator: Annotator, seed: int) -> Answer:
        """The answer on a prompt's fenced texts. Raises Refusal for texts that are none of its."""
        ...


class Compares:
    """Answers prompts that show pairs, in the words that their parser reads."""

    def __init__(self, parser: Parser) -> None:
        self.labels = parser.labels
        self._parser = parser

    def answer(self, texts: Sequence[Text], annotator: Annotator, seed: int) -> Answer:
        """The annotator's verdicts; NO_VERDICT where one is missing."""
        judgments = annotator.annotate(_pairs(texts, self.labels), seed=seed)
        preferences = [judgment.preference for judgment in judgments]
        if None in preferences:
            return Answer(NO_VERDICT)
        verdicts = [
            Verdict(j.preference, j.explanation, j.strength, j.attributes) for j in judgments
        ]
        content = self._parser.write(verdicts)
        second = preferences[0]
        if second is None or content not in self.labels:
            return Answer(content)
        return Answer(content, tuple(zip(self.labels, (1 - second, second), strict=True)))


def _skills() -> dict[str, Skill]:
    """Who answers which packaged prompt."""
    return {
        "letter": Compares(Letter()),
        "reasoned": Compares(Reasoned()),
        "numbered": Compares(Numbered()),
        "json": Compares(JsonVerdicts()),
        "ratings": Compares(Ratings()),
    }


@cache
def _understood() -> dict[str, Skill]:
    """Skills by the system text that asks for them."""
    return {
        load_template(name, {"first": skill.labels.first, "second": skill.labels.second}).system: (
            skill
        )
        for name, skill in _skills().items()
    }


# ------------------------------------------------------------------------------------ reading


@dataclass(frozen=True)
class Question:
    """What is used of a request's body."""

    model: str
    messages: tuple[Message, ...]
    seed: int | None
    top_logprobs: int | None
    """How many alternatives of a label are asked for; None asks for no log-probabilities."""


def read_question(body: bytes) -> Question:
    """The question in a request's body. Raises Refusal for what is no request, and for what only
    other servers do: several choices and streams."""
    request = _json(body)
    if not isinstance(request.get("model"), str):
        raise _invalid("`model` is missing: name one of GET /v1/models.")
    if request.get("stream") or request.get("n") not in (None, 1):
        raise _invalid("One answer at once is all there is: leave out `stream`, and `n` above 1.")
    seed, top = request.get("seed"), request.get("top_logprobs") or 0
    if not isinstance(seed, int | None) or not isinstance(top, int):
        raise _invalid("`seed` and `top_logprobs` are whole numbers.")
    logprobs = top if request.get("logprobs") else None
    return Question(request["model"], _messages(request.get("messages")), seed, logprobs)


def _json(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        raise _invalid("The body is not a JSON object.")
    return request


def _messages(rows: Any) -> tuple[Message, ...]:
    try:
        messages = tuple(Message(row["role"], row["content"]) for row in rows)
    except (KeyError, TypeError):
        messages = ()
    texts = all(isinstance(text, str) for m in messages for text in (m.role, m.content))
    if not messages or not texts:
        raise _invalid("`messages` must be a list of turns, each with a text `role` and `content`.")
    return messages


def _invalid(message: str) -> Refusal:
    return Refusal(400, message, "invalid_request")


def _skill(messages: Sequence[Message]) -> Skill:
    """Who answers: told by the system turn, or by how the first turn begins."""
    first = messages[0].content
    for system, skill in _understood().items():
        if first == system or first.startswith(f"{system}\n\n"):
            return skill
    raise Refusal(
        400,
        "The system text is none that is understood here: it must be that of one of the prompts "
        f"{', '.join(_skills())} of simulators/judges/prompts, unchanged and with the default "
        "labels.",
        "unknown_prompt",
    )


_NAME = re.compile(r"(?:pair (\d+) )?(?:answer (\S+)|(system|user|assistant))")


def _pairs(texts: Sequence[Text], labels: Labels) -> list[Pair]:
    """The pairs that a prompt shows; output_a is what is shown first."""
    turns: dict[str, list[Message]] = {}
    answers: dict[str, dict[str, str]] = {}
    for name, text in texts:
        found = _NAME.fullmatch(name)
        if found is None:
            raise _invalid(f"`{name}` names no text of a pair.")
        number, label, role = found[1] or "", found[2], found[3]
        if role is None:
            answers.setdefault(number, {})[label] = text
        else:
            turns.setdefault(number, []).append(Message(role, text))
    if not turns or any(answers.get(number, {}).keys() != set(labels) for number in turns):
        raise _invalid(
            "The last turn must show pairs between fences (simulators/judges/fences.py): a request "
            f"and the answers {labels.first} and {labels.second} to it."
        )
    return [
        make_pair(make_instruction(messages), *(answers[number][label] for label in labels))
        for number, messages in turns.items()
    ]


# ---------------------------------------------------------------------------------- answering


def models_of(annotators: Mapping[str, Any]) -> dict[str, Annotator]:
    """The annotators of a config by name: its keys, and all inside them that have a `name`.

    Raises ConfigError where two different annotators have the same name.
    """
    found: dict[str, Mapping[str, Any]] = dict(annotators)
    for path, node in nodes(annotators):
        name = node.get("name")
        if isinstance(name, str) and found.setdefault(name, node) != node:
            raise ConfigError(
                f"annotators.{path}.name={name}: another annotator is called so as well; names "
                "tell models apart."
            )
    built = {name: build(node) for name, node in found.items()}
    return {name: built[name] for name in built if isinstance(built[name], Annotator)}


def answer(question: Question, models: Mapping[str, Annotator], seed: int) -> Answer:
    """What the model that is asked for says; `seed` is used where the question names none.

    Raises Refusal for a model that is not there and for a prompt that is not understood.
    """
    if question.model not in models:
        raise Refusal(
            404,
            f"The model `{question.model}` does not exist. Models: {', '.join(models)}.",
            "model_not_found",
        )
    skill = _skill(question.messages)
    texts = read_fenced(question.messages[-1].content)
    seed = seed if question.seed is None else question.seed
    return skill.answer(texts, models[question.model], seed)


def completion(answer: Answer, question: Question, identity: str, created: int) -> dict[str, Any]:
    """The answer in OpenAI's form; a token is four characters."""
    prompt = sum(len(message.content) for message in question.messages) // 4
    said = len(answer.content) // 4
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": answer.content, "refusal": None},
        "logprobs": _logprobs(answer, question.top_logprobs),
        "finish_reason": "stop",
    }
    return {
        "id": f"chatcmpl-{identity}",
        "object": "chat.completion",
        "created": created,
        "model": question.model,
        "choices": [choice],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": said,
            "total_tokens": prompt + said,
        },
    }


def _logprobs(answer: Answer, top: int | None) -> dict[str, Any] | None:
    """Log-probabilities (nats) of the labels, likeliest first; impossible ones are left out."""
    if top is None or not answer.shares:
        return None
    ranked = sorted(answer.shares, key=lambda share: share[1], reverse=True)
    tokens = [
        {"token": label, "logprob": math.log(share), "bytes": list(label.encode())}
        for label, share in ranked
        if share > 0
    ]
    return {"content": [{**tokens[0], "top_logprobs": tokens[:top]}], "refusal": None}
