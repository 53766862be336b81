"""An LLM judge that ranks all answers to a request at once."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from farm.seeds import derive, redraw
from farm.types import Instruction, Judgment, Pair
from simulators.chat.loop import ask_all
from simulators.chat.types import ChatRequest, Reply
from simulators.judges.asking import Prompted, Tally, bill, in_order, request
from simulators.judges.fences import fenced
from simulators.judges.template import answers_texts


class _Field(NamedTuple):
    """The answers that are ranked together, in the order they are shown."""

    rows: list[int]
    """Of the pairs whose answers they are."""
    instruction: Instruction
    outputs: list[str]


class RankingJudge(Prompted):
    """Ranks the distinct answers of consecutive pairs with one instruction, n of them in one
    request, and gives a judgment on each of these pairs; they share `raw`, and their bill.

    The order in which answers are shown is seeded, so no wrapper has to randomise it.
    """

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """The verdicts that the rankings imply. Raises as `Judge.annotate` does."""
        fields = list(_fields(pairs, redraw(seed, draw)))
        tally = Tally(self._name, self._max_unparsed, len(fields))
        judgments: dict[int, Judgment] = {}

        def on_reply(index: int, reply: Reply) -> None:
            field = fields[index]
            read = self._read(reply, field, [pairs[row] for row in field.rows], draw)
            judgments.update(zip(field.rows, read, strict=True))
            tally.count([reply], sum(j.preference is None for j in read), len(read))

        ask_all(self._model, self._requests(fields, seed, draw), len(fields), on_reply)
        return in_order(pairs, judgments, self._name)

    def _requests(self, fields: Sequence[_Field], seed: int, draw: int) -> Iterator[ChatRequest]:
        for field in fields:
            labels = [str(number) for number in range(1, len(field.outputs) + 1)]
            texts = answers_texts(field.instruction.messages, field.outputs, labels)
            material = fenced(texts, [field.instruction.id, *sorted(field.outputs)])
            yield request(
                self._model,
                self._template.messages(material),
                self._sampling,
                {},
                seed=redraw(seed, draw),
                draw=draw,
            )

    def _read(
        self, reply: Reply, field: _Field, pairs: Sequence[Pair], draw: int
    ) -> list[Judgment]:
        ranks = None if reply.text is None else read_ranking(reply.text, len(field.outputs))
        origin = bill(self._model, [reply], len(pairs))
        place = {output: number for number, output in enumerate(field.outputs)}
        judgments = []
        for pair in pairs:
            a, b = place[pair.output_a], place[pair.output_b]
            judgments.append(
                Judgment(
                    pair.id,
                    None if ranks is None else float(ranks[b] < ranks[a]),
                    self._name,
                    "ab" if a < b else "ba",
                    draw,
                    prompt_hash=self._template.hash,
                    error=None if ranks else reply.error or "no ranking of all answers",
                    **origin,
                )
            )
        return judgments


def read_ranking(text: str, count: int) -> list[int] | None:
    """The rank, from 0 for the best, of each of `count` answers out of `2 > 3 > 1`; None where the
    numbers are not 1 to `count`, each once."""
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    is_ranking = re.fullmatch(r"[\s\d>.]*", text) and sorted(numbers) == list(range(1, count + 1))
    if not is_ranking:
        return None
    return [numbers.index(label) for label in range(1, count + 1)]


def write_ranking(ranks: Sequence[int]) -> str:
    """The line that `read_ranking` reads as these ranks."""
    return " > ".join(str(label + 1) for label in sorted(range(len(ranks)), key=ranks.__getitem__))


def _fields(pairs: Sequence[Pair], seed: int) -> Iterator[_Field]:
    """Runs of pairs with one instruction; pairs of identical texts need no ranking."""
    run: list[int] = []
    asked = [i for i, pair in enumerate(pairs) if pair.output_a != pair.output_b]
    for row in asked:
        if run and pairs[row].instruction.id != pairs[run[0]].instruction.id:
            yield _field(pairs, run, seed)
            run = []
        run.append(row)
    if run:
        yield _field(pairs, run, seed)


def _field(pairs: Sequence[Pair], rows: list[int], seed: int) -> _Field:
    instruction = pairs[rows[0]].instruction
    texts = {text for row in rows for text in (pairs[row].output_a, pairs[row].output_b)}
    shown = sorted(texts, key=lambda text: derive(seed, "ranking", instruction.id, text))
    return _Field(rows, instruction, shown)
