"""An LLM judge of single answers: a `Scorer`, which reaches learners as their reward."""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from farm.protocols import FloatArray
from farm.types import Instruction
from simulators.chat.loop import ask_all
from simulators.chat.types import ChatRequest, Reply
from simulators.judges.asking import Prompted, Tally, request
from simulators.judges.fences import fenced
from simulators.judges.template import answers_texts

LOWEST, HIGHEST = 1, 10


class Assessment(Prompted):
    """Scores an answer from 1 to 10 by one question, such as `assess_quality` or
    `assess_following` (I-SHEEP, arXiv 2408.08072); NaN where the model gave no score.
    """

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        """Scores [N] in 1..10. Raises as `Judge.annotate` does."""
        tally = Tally(self._name, self._max_unparsed, len(completions))
        scores = np.full(len(completions), np.nan)

        def on_reply(index: int, reply: Reply) -> None:
            score = None if reply.text is None else read_score(reply.text)
            scores[index] = np.nan if score is None else score
            tally.count([reply], int(score is None), 1)

        requests = self._requests(instructions, completions)
        ask_all(self._model, requests, len(completions), on_reply)
        return scores

    def _requests(
        self, instructions: Sequence[Instruction], completions: Sequence[str]
    ) -> Iterator[ChatRequest]:
        for instruction, completion in zip(instructions, completions, strict=True):
            texts = answers_texts(instruction.messages, [completion], ["1"])
            messages = self._template.messages(fenced(texts, [instruction.id, completion]))
            yield request(self._model, messages, self._sampling, {}, seed=0, draw=0)


def read_score(text: str) -> float | None:
    """The whole number nearest to what stands before `||`; None where it is not in 1..10."""
    found = re.match(r"\s*(\d+(?:\.\d+)?)\s*\|\|", text)
    if found is None:
        return None
    score = round(float(found[1]))
    return float(score) if LOWEST <= score <= HIGHEST else None


def write_score(score: float, reason: str) -> str:
    """An answer that `read_score` reads."""
    return f"{score:g}||{reason}"
