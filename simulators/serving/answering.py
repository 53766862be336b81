"""From a chat request to an annotator and back: what a model would have answered.

A request is understood by its system text, which says which of the package's prompts it is; the
texts between the fences of its last turn are the pairs, or the one answer, to judge.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any, NamedTuple, Protocol

from farm.config import build
from farm.data.records import make_instruction, make_pair
from farm.errors import ConfigError, FarmError
from farm.protocols import Annotator, Scorer
from farm.targets import nodes
from farm.types import Instruction, Message
from simulators.judges.assessment import write_score
from simulators.judges.fences import Text, read_fenced
from simulators.judges.parsers import (
    JsonVerdicts,
    Letter,
    Numbered,
    Parser,
    Ratings,
    Reasoned,
    Verdict,
)
from simulators.judges.ranking import write_ranking
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


class Mind(NamedTuple):
    """Who speaks through a model."""

    annotator: Annotator
    """Compares answers."""
    assessors: Mapping[str, Scorer]
    """Score single answers, by question."""


class Skill(Protocol):
    """How a kind of prompt is answered."""

    labels: Mapping[str, str]
    """What stands for the placeholders of the system text."""

    def answer(self, texts: Sequence[Text], mind: Mind, seed: int) -> Answer:
        """The answer on a prompt's fenced texts. Raises Refusal for texts that are none of its."""
        ...


class Compares:
    """Answers prompts that show pairs, in the words that their parser reads."""

    def __init__(self, parser: Parser) -> None:
        self.labels: Mapping[str, str] = parser.labels._asdict()
        self._parser = parser

    def answer(self, texts: Sequence[Text], mind: Mind, seed: int) -> Answer:
        """The annotator's verdicts; NO_VERDICT where one is missing."""
        labels = self._parser.labels
        pairs = [
            make_pair(instruction, *answers) for instruction, answers in _material(texts, labels)
        ]
        judgments = mind.annotator.annotate(pairs, seed=seed)
        preferences = [j.preference for j in judgments if j.preference is not None]
        if len(preferences) < len(pairs):
            return Answer(NO_VERDICT)
        verdicts = [
            Verdict(j.preference, j.explanation, j.strength, j.attributes) for j in judgments
        ]
        content = self._parser.write(verdicts)
        if content not in labels:
            return Answer(content)
        shares = (1 - preferences[0], preferences[0])
        return Answer(content, tuple(zip(labels, shares, strict=True)))


class Ranks:
    """Answers the prompt that shows several answers to one request."""

    labels: Mapping[str, str] = {}

    def answer(self, texts: Sequence[Text], mind: Mind, seed: int) -> Answer:
        """The answers by how often each is preferred to another; NO_VERDICT where one comparison
        has none."""
        shown = sum(text.name.startswith("answer ") for text in texts)
        [(instruction, answers)] = _material(texts, [str(n) for n in range(1, shown + 1)])
        duels = list(combinations(range(shown), 2))
        pairs = [make_pair(instruction, answers[i], answers[j]) for i, j in duels]
        wins = [0.0] * shown
        judgments = mind.annotator.annotate(pairs, seed=seed)
        for (i, j), judgment in zip(duels, judgments, strict=True):
            if judgment.preference is None:
                return Answer(NO_VERDICT)
            wins[i] += 1 - judgment.preference
            wins[j] += judgment.preference
        best_first = sorted(range(shown), key=lambda number: -wins[number])
        return Answer(write_ranking([best_first.index(number) for number in range(shown)]))


class Assesses:
    """Answers a prompt that shows one answer and asks for its score."""

    labels: Mapping[str, str] = {}

    def __init__(self, question: str) -> None:
        self._question = question

    def answer(self, texts: Sequence[Text], mind: Mind, seed: int) -> Answer:
        """The assessor's score; NO_VERDICT where it has none."""
        if self._question not in mind.assessors:
            asked = f"Nobody answers this question here: assessors.{self._question} is not set."
            raise Refusal(400, asked, "no_assessor")
        [(instruction, (shown,))] = _material(texts, ["1"])
        [score] = mind.assessors[self._question].score([instruction], [shown]).tolist()
        return Answer(NO_VERDICT if math.isnan(score) else write_score(score, "So it seems."))


def _skills() -> dict[str, Skill]:
    """Who answers which packaged prompt."""
    return {
        "letter": Compares(Letter()),
        "reasoned": Compares(Reasoned()),
        "numbered": Compares(Numbered()),
        "numbered_reader": Compares(Numbered()),
        "numbered_teacher": Compares(Numbered()),
        "json": Compares(JsonVerdicts()),
        "ratings": Compares(Ratings()),
        "ranking": Ranks(),
        "assess_following": Assesses("following"),
        "assess_quality": Assesses("quality"),
    }


@cache
def _understood() -> dict[str, Skill]:
    """Skills by the system text that asks for them."""
    skills = _skills().items()
    return {load_template(name, skill.labels).system: skill for name, skill in skills}


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
    if not isinstance(seed, int | None) or not isinstance(top, int) or top < 0:
        raise _invalid("`seed` and `top_logprobs` are whole numbers, the latter 0 or more.")
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


def _material(
    texts: Sequence[Text], labels: Sequence[str]
) -> list[tuple[Instruction, tuple[str, ...]]]:
    """What a prompt shows: each instruction, and the answers to it in the labels' order."""
    turns: dict[str, list[Message]] = {}
    answers: dict[str, dict[str, str]] = {}
    for name, text in texts:
        found = _NAME.fullmatch(name)
        if found is None:
            raise _invalid(f"`{name}` names no text of a prompt.")
        number, label, role = found[1] or "", found[2], found[3]
        if role is None:
            answers.setdefault(number, {})[label] = text
        else:
            turns.setdefault(number, []).append(Message(role, text))
    complete = all(answers.get(number, {}).keys() == set(labels) for number in turns)
    if not turns or not labels or not complete:
        raise _invalid(
            "The last turn must show, between fences (simulators/judges/fences.py), a request and "
            f"the answers {' and '.join(labels) or '1, 2 and so on'} to it."
        )
    return [
        (make_instruction(messages), tuple(answers[number][label] for label in labels))
        for number, messages in turns.items()
    ]


# ---------------------------------------------------------------------------------- answering


def models_of(annotators: Mapping[str, Any], assessors: Mapping[str, Any]) -> dict[str, Mind]:
    """The annotators of a config by name: its keys, and all inside them that have a `name`. All of
    them assess alike.

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
    scorers = {prompt: build(node) for prompt, node in assessors.items()}
    return {name: Mind(one, scorers) for name, one in built.items() if isinstance(one, Annotator)}


def answer(question: Question, models: Mapping[str, Mind], seed: int) -> Answer:
    """What the model that is asked for says; `seed` is used where the question names none.

    Raises Refusal for a model that is not there, for a prompt that is not understood, and where
    the annotator cannot answer.
    """
    if question.model not in models:
        raise Refusal(
            404,
            f"The model `{question.model}` does not exist. Models: {', '.join(models)}.",
            "model_not_found",
        )
    skill = _skill(question.messages)
    asked = next((m.content for m in reversed(question.messages) if m.role == "user"), "")
    texts = read_fenced(asked)
    seed = seed if question.seed is None else question.seed
    try:
        return skill.answer(texts, models[question.model], seed)
    except FarmError as error:
        raise Refusal(400, f"{question.model} cannot answer: {error}", "annotator_error") from None
