"""An LLM judge of pairs."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from farm.artifacts import content_hash
from farm.data.records import chunks
from farm.errors import ConfigError
from farm.seeds import redraw
from farm.types import Judgment, Message, Pair
from simulators.chat.loop import ask_all
from simulators.chat.types import ChatModel, ChatRequest, Reply
from simulators.judges.asking import Sampling, Tally, bill, in_order, request, sampling_of
from simulators.judges.examples import example_turns
from simulators.judges.parsers import Parser, Verdict, no_verdict
from simulators.judges.template import Template, load_template, pairs_material


class Judge:
    """Asks a chat model which answer is better; output_a is shown first.

    Args:
        name: who it is, in judgments and tables.
        prompt: a prompt that comes with the package, by name, or the path of a prompt file.
        parser: how verdicts are asked for and read.
        sampling: how answers are drawn.
        model: who answers.
        pairs_per_request: pairs that share a request (AlpacaFarm: 1, 4 or 5). They are put together
            over the whole list that is handed in, whatever is cached.
        examples: path of a file with rows `instruction`, `output_1`, `output_2` and `preference`
            (AlpacaEval's 1..2, optional `explanation`), shown before the pair as turns of the chat.
        max_unparsed: share of answers that may be unreadable; more raise TooManyUnparsed.

    Raises ConfigError for a prompt or a file of examples that cannot be read.
    """

    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset({"examples", "max_unparsed"})

    def __init__(
        self,
        *,
        name: str,
        prompt: str,
        parser: Parser,
        sampling: Sampling,
        model: ChatModel,
        pairs_per_request: int = 1,
        examples: str | None = None,
        max_unparsed: float = 0.05,
    ) -> None:
        if pairs_per_request < 1 or not 0 <= max_unparsed <= 1:
            raise ConfigError(
                f"pairs_per_request={pairs_per_request}, max_unparsed={max_unparsed}: at least one "
                "pair a request, and a share between 0 and 1."
            )
        self._name = name
        self._prompt = prompt
        self._parser = parser
        self._sampling = sampling_of(sampling)
        self._model = model
        self._pairs_per_request = pairs_per_request
        self._examples_path = examples
        self._max_unparsed = max_unparsed
        self._template  # noqa: B018 - a missing prompt file shows before anything is asked

    def resolved(self) -> dict[str, str]:
        """The hashes of the prompt's text and of the examples."""
        hashes = {"prompt": self._template.hash}
        if self._examples_path is not None:
            hashes["examples"] = content_hash(Path(self._examples_path))
        return hashes

    @cached_property
    def _template(self) -> Template:
        first, second = self._parser.labels
        return load_template(self._prompt, {"first": first, "second": second})

    @cached_property
    def _examples(self) -> tuple[Message, ...]:
        if self._examples_path is None:
            return ()
        return example_turns(Path(self._examples_path), self._template, self._parser)

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """The model's verdicts. Raises TooManyUnparsed, and EndpointError where the provider
        refuses; what was answered by then is kept by the cache, where there is one."""
        asked = [i for i, pair in enumerate(pairs) if pair.output_a != pair.output_b]
        groups = list(chunks(asked, self._pairs_per_request))
        samples = self._parser.samples(self._model.capabilities)
        tally = Tally(self._name, self._max_unparsed, len(groups))
        judgments: dict[int, Judgment] = {}
        replies: dict[int, dict[int, Reply]] = {}

        def on_reply(index: int, reply: Reply) -> None:
            group, sample = divmod(index, samples)
            replies.setdefault(group, {})[sample] = reply
            if len(replies[group]) < samples:
                return
            answered = replies.pop(group)
            group_pairs = [pairs[row] for row in groups[group]]
            read = self._read([answered[n] for n in range(samples)], group_pairs, draw)
            judgments.update(zip(groups[group], read, strict=True))
            tally.count(list(answered.values()), sum(j.preference is None for j in read), len(read))

        requests = self._requests(pairs, groups, samples, seed=redraw(seed, draw), draw=draw)
        ask_all(self._model, requests, len(groups) * samples, on_reply)
        return in_order(pairs, judgments, self._name)

    def _requests(
        self,
        pairs: Sequence[Pair],
        groups: Sequence[Sequence[int]],
        samples: int,
        *,
        seed: int,
        draw: int,
    ) -> Iterator[ChatRequest]:
        settings = self._parser.settings(self._model.capabilities)
        for group in groups:
            material = pairs_material([pairs[row] for row in group], self._parser.labels)
            messages = self._template.messages(material, self._examples)
            for sample in range(samples):
                yield request(
                    self._model,
                    messages,
                    self._sampling,
                    settings,
                    seed=redraw(seed, sample),
                    draw=draw * samples + sample,
                )

    def _read(self, replies: Sequence[Reply], pairs: Sequence[Pair], draw: int) -> list[Judgment]:
        """The judgments on the pairs of one request, from its samples."""
        samples = [self._verdicts(reply, len(pairs)) for reply in replies]
        origin = bill(self._model, replies, len(pairs))
        return [
            Judgment(
                pair.id,
                annotator=self._name,
                order="ab",
                draw=draw,
                prompt_hash=self._template.hash,
                **_combined([verdicts[i] for verdicts in samples]),
                **origin,
            )
            for i, pair in enumerate(pairs)
        ]

    def _verdicts(self, reply: Reply, count: int) -> list[Verdict]:
        if reply.error is not None:
            return [Verdict(None, error=reply.error)] * count
        if reply.text is None:
            return no_verdict(f"no text (finish reason {reply.finish_reason})", None, count)
        return self._parser.parse(reply, count)


def _combined(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The fields of a judgment that are the verdict: the only one, or the mean of those samples
    that gave one."""
    if len(verdicts) == 1:
        return {name: getattr(verdicts[0], name) for name in Verdict.__slots__}
    votes = tuple(v.preference for v in verdicts if v.preference is not None)
    if not votes:
        return {"preference": None, "error": verdicts[0].error}
    return {"preference": sum(votes) / len(votes), "votes": votes}
