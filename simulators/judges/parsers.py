"""From a judge's answer to verdicts, and back: `write` is what a judge would have answered.

A verdict outside the offered set is no verdict: its `error` says what was found.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from farm.errors import ConfigError
from simulators.chat.types import Capabilities, Reply

TIE = "tie"
ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
"""HelpSteer2's five, each rated 0-4 (arXiv 2406.08673)."""
_SHOWN = 80
_LEAST_MASS = 0.05
"""Probability that the two letters must have together: a model that means to say something else
puts a trace on each of them, and their ratio is no verdict."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge said of one pair, in the order it was shown."""

    preference: float | None
    """P(the second answer is better)."""
    explanation: str | None = None
    strength: float | None = None
    attributes: Mapping[str, tuple[float, float]] | None = None
    error: str | None = None


class Labels(NamedTuple):
    """What the two answers are called."""

    first: str
    second: str


class Parser(Protocol):
    """How verdicts are asked for and read."""

    labels: Labels

    def settings(self, capabilities: Capabilities) -> Mapping[str, Any]:
        """Keywords of the request, besides sampling."""
        ...

    def samples(self, capabilities: Capabilities) -> int:
        """Answers needed for one verdict."""
        ...

    def parse(self, reply: Reply, count: int) -> list[Verdict]:
        """One verdict for each of the `count` pairs of a request."""
        ...

    def write(self, verdicts: Sequence[Verdict]) -> str:
        """An answer that `parse` reads as these verdicts."""
        ...


def no_verdict(reason: str, text: str | None, count: int = 1) -> list[Verdict]:
    """No verdict on `count` pairs; the reason quotes the beginning of the answer."""
    shown = repr((text or "")[:_SHOWN])
    return [Verdict(None, error=f"{reason}: {shown}")] * count


def _preference(better: str, labels: Labels) -> float | None:
    return {labels.first: 0.0, labels.second: 1.0, TIE: 0.5}.get(better)


def _better(preference: float | None, labels: Labels) -> str:
    if preference is None or preference == 0.5:
        return TIE
    return labels.second if preference > 0.5 else labels.first


class _Hard:
    """What parsers of hard verdicts share: one answer is enough."""

    labels = Labels("1", "2")
    stage_version: ClassVar[int] = 1

    def settings(self, capabilities: Capabilities) -> Mapping[str, Any]:
        """None besides sampling."""
        return {}

    def samples(self, capabilities: Capabilities) -> int:
        """One."""
        return 1


class _Json(_Hard):
    """What parsers of JSON answers share."""

    def settings(self, capabilities: Capabilities) -> Mapping[str, Any]:
        """A JSON object, where the model can be held to it."""
        return {"response_format": {"type": "json_object"}} if capabilities.json_mode else {}


class Letter(_Hard):
    """One letter; with log-probabilities a soft preference, P(second) / (P(first) + P(second)) as
    AlpacaEval 2's weighted judge takes it, else the mean of `fallback_samples` letters."""

    def __init__(self, *, first: str = "P", second: str = "Q", fallback_samples: int = 5) -> None:
        if first == second or fallback_samples < 1:
            raise ConfigError(
                f"first={first}, second={second}, fallback_samples={fallback_samples}: give two "
                "different letters and at least one sample."
            )
        self.labels = Labels(first, second)
        self._fallback_samples = fallback_samples

    def settings(self, capabilities: Capabilities) -> Mapping[str, Any]:
        """Log-probabilities, where the model gives them."""
        if not capabilities.logprobs:
            return {}
        return {"logprobs": True, "top_logprobs": capabilities.top_logprobs}

    def samples(self, capabilities: Capabilities) -> int:
        """One with log-probabilities, else `fallback_samples`."""
        return 1 if capabilities.logprobs else self._fallback_samples

    def parse(self, reply: Reply, count: int) -> list[Verdict]:
        """The letters' weights where the first token's are known, no verdict where they are below
        5 % together; else the letter itself."""
        first, second = (self._weight(reply, label) for label in self.labels)
        if first + second >= _LEAST_MASS:
            return [Verdict(second / (first + second))]
        preference = _preference((reply.text or "").strip().rstrip("."), self.labels)
        if preference is None or reply.top_logprobs is not None:
            return no_verdict(f"neither {' nor '.join(self.labels)}", reply.text)
        return [Verdict(preference)]

    def write(self, verdicts: Sequence[Verdict]) -> str:
        """The likelier letter."""
        return self.labels[int((verdicts[0].preference or 0.0) > 0.5)]

    def _weight(self, reply: Reply, label: str) -> float:
        return sum(math.exp(p) for token, p in reply.top_logprobs or () if token.strip() == label)


class Reasoned(_Hard):
    """Reasoning, then a last line `Verdict: 1`, `Verdict: 2` or `Verdict: tie`."""

    def parse(self, reply: Reply, count: int) -> list[Verdict]:
        """The last line's verdict; what stands before is the explanation."""
        text = (reply.text or "").strip()
        reasoning, _, last = text.rpartition("\n")
        found = re.fullmatch(r"\W*verdict:?\W*(1|2|tie)\W*", last, re.IGNORECASE)
        if found is None:
            return no_verdict("the last line is no verdict", last)
        return [Verdict(_preference(found[1].lower(), self.labels), reasoning.strip() or None)]

    def write(self, verdicts: Sequence[Verdict]) -> str:
        """The explanation and the verdict's line."""
        reasoning = verdicts[0].explanation or "One follows the request more closely."
        return f"{reasoning}\nVerdict: {_better(verdicts[0].preference, self.labels)}"


class Numbered(_Hard):
    """One line for each pair, `3: 2` for the third pair's second answer (AlpacaFarm's batches)."""

    def parse(self, reply: Reply, count: int) -> list[Verdict]:
        """Verdicts in the pairs' order; none at all where the numbers are not 1 to `count`, since
        nobody knows then which line belongs to which pair."""
        found = re.findall(r"^\W*(\d+)\s*[:.)]\s*(1|2|tie)\W*$", reply.text or "", re.M | re.I)
        if [number for number, _ in found] != [str(n) for n in range(1, count + 1)]:
            return no_verdict(f"not one line for each of {count} pairs", reply.text, count)
        return [Verdict(_preference(better.lower(), self.labels)) for _, better in found]

    def write(self, verdicts: Sequence[Verdict]) -> str:
        """The lines."""
        return "\n".join(
            f"{number}: {_better(verdict.preference, self.labels)}"
            for number, verdict in enumerate(verdicts, start=1)
        )


class JsonVerdicts(_Json):
    """`{"verdicts": [{"pair": 1, "explanation": "...", "better": "2"}]}`."""

    def parse(self, reply: Reply, count: int) -> list[Verdict]:
        """Verdicts in the pairs' order; none at all where they are not numbered 1 to `count`."""
        content = json_object(reply.text)
        rows = content.get("verdicts") if content else None
        numbers = [_get(row, "pair") for row in rows] if isinstance(rows, list) else []
        if numbers != list(range(1, count + 1)):
            return no_verdict(f"no JSON with verdicts on {count} pairs", reply.text, count)
        return [self._verdict(row) for row in rows or ()]

    def _verdict(self, row: Mapping[str, Any]) -> Verdict:
        better, explanation = str(row.get("better")), row.get("explanation")
        preference = _preference(better.lower(), self.labels)
        if preference is None:
            return no_verdict("`better` is neither 1, 2 nor tie", better)[0]
        return Verdict(preference, explanation if isinstance(explanation, str) else None)

    def write(self, verdicts: Sequence[Verdict]) -> str:
        """The JSON."""
        rows = [
            {
                "pair": number,
                "explanation": verdict.explanation or "It follows the request more closely.",
                "better": _better(verdict.preference, self.labels),
            }
            for number, verdict in enumerate(verdicts, start=1)
        ]
        return json.dumps({"verdicts": rows})


class Ratings(_Json):
    """HelpSteer2-Preference's form (arXiv 2410.01257): five attributes from 0 to 4 for each answer,
    and a strength from -3 (the first is much better) to 3."""

    def parse(self, reply: Reply, count: int) -> list[Verdict]:
        """Ratings, strength, and the preference that is the strength's sign."""
        content = json_object(reply.text) or {}
        first, second = (_ratings(content.get(f"answer {label}")) for label in self.labels)
        strength = _whole(content.get("strength"), -3, 3)
        if first is None or second is None or strength is None:
            return no_verdict("no JSON with five ratings 0-4 each and a strength -3..3", reply.text)
        explanation = content.get("explanation")
        return [
            Verdict(
                (1 + (strength > 0) - (strength < 0)) / 2,
                explanation if isinstance(explanation, str) else None,
                float(strength),
                {name: (first[name], second[name]) for name in ATTRIBUTES},
            )
        ]

    def write(self, verdicts: Sequence[Verdict]) -> str:
        """The JSON; what the verdict does not say is made up from its preference."""
        verdict = verdicts[0]
        preference = 0.5 if verdict.preference is None else verdict.preference
        strength = round(6 * preference - 3) if verdict.strength is None else int(verdict.strength)
        ratings = verdict.attributes or dict.fromkeys(
            ATTRIBUTES, (round(4 - 4 * preference), round(4 * preference))
        )
        return json.dumps(
            {
                "explanation": verdict.explanation or "One follows the request more closely.",
                **{
                    f"answer {label}": {name: int(values[side]) for name, values in ratings.items()}
                    for side, label in enumerate(self.labels)
                },
                "strength": strength,
            }
        )


def json_object(text: str | None) -> dict[str, Any] | None:
    """The JSON object that an answer is, a code fence around it aside; None where it is none."""
    stripped = re.sub(r"^```(?:json)?\s*|\s*```$", "", (text or "").strip())
    try:
        value = json.loads(stripped)
    except (json.JSONDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _get(row: object, key: str) -> object:
    return row.get(key) if isinstance(row, dict) else None


def _whole(value: object, lowest: int, highest: int) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest:
        return value
    return None


def _ratings(value: object) -> dict[str, float] | None:
    ratings = {name: _whole(_get(value, name), 0, 4) for name in ATTRIBUTES}
    known = {name: float(rating) for name, rating in ratings.items() if rating is not None}
    return known if len(known) == len(ATTRIBUTES) else None
