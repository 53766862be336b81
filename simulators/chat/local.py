"""A chat model of our own: transformers weights, decoded by our own sampler, by whoever helps the
process that asks (`farm.pool.helpers`)."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from itertools import compress
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from farm.artifacts import content_hash
from farm.errors import ConfigError
from farm.pool import helpers
from farm.seeds import derive
from farm.types import Usage
from simulators.chat.cached import request_key
from simulators.chat.types import Capabilities, ChatRequest, Reply

_MOST_HELPERS = 1024


class LocalModel:
    """Answers with the causal language model in the folder `path`, `batch_size` requests at
    a time: here, or in each of the helpers, which load the weights once and must be able to read
    the folder. What is sampled depends on the weights, the request, its draw and the judge's seed
    alone. A prompt of more than `max_prompt_tokens` is not answered, since its beginning holds the
    rules. Raises ConfigError for sizes below 1 and for what cannot be loaded."""

    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset({"path", "batch_size"})

    def __init__(self, *, path: str, batch_size: int = 16, max_prompt_tokens: int = 4096) -> None:
        if min(batch_size, max_prompt_tokens) < 1:
            raise ConfigError(
                f"batch_size={batch_size}, max_prompt_tokens={max_prompt_tokens}: at least 1 each."
            )
        self.model = path
        self.capabilities = Capabilities(json_mode=False, seed="run")
        self._batch_size = batch_size
        self._max_prompt_tokens = max_prompt_tokens

    @property
    def concurrency(self) -> int:
        """A batch for the one who asks; for each helper, one to answer and one to come."""
        return self._batch_size * max(1, 2 * helpers().size)

    def resolved(self) -> dict[str, str]:
        """The content hash of the folder."""
        return {"path": content_hash(Path(self.model))}

    def unpaid(self) -> dict[str, str]:
        """What stands in this node's place in a dry run (`farm.config.unpaid`)."""
        return {"_target_": "simulators.chat.quote.Idle"}

    @cached_property
    def server(self) -> str:
        """The weights, wherever they lie."""
        return self.resolved()["path"]

    async def ask(self, request: ChatRequest) -> Reply:
        """The model's answer; free."""
        key = request_key(self.server, request)
        row_seed = derive(request.settings.get("seed", 0), "local", key)
        folder = str(Path(self.model).resolve())
        decoder = _Decoder(self.model, folder, self._max_prompt_tokens)
        return await _desk(decoder, self._batch_size).ask(_Seeded(request, row_seed))


class _Seeded(NamedTuple):
    request: ChatRequest
    row_seed: int
    """Of its sampled tokens."""

    @property
    def decoding(self) -> tuple[int, float]:
        """New tokens at most, and temperature: requests that share them can share a batch."""
        settings = self.request.settings
        return settings["max_tokens"], settings.get("temperature", 1.0)


class _Decoder(NamedTuple):
    """What travels to a helper: where the weights are, and what is done with them."""

    name: str
    """As the configuration calls the folder."""
    folder: str
    max_prompt_tokens: int

    def replies(self, batch: Sequence[_Seeded]) -> list[Reply]:
        """The model's answers to requests with one `decoding`, in their order."""
        from farm.models import chat

        _, tokenizer = _load(self.folder)
        prompts = chat.prompts_ids(tokenizer, [one.request.messages for one in batch])
        fitting = [len(prompt) <= self.max_prompt_tokens for prompt in prompts]
        answered = iter(
            self._decoded(list(compress(batch, fitting)), list(compress(prompts, fitting)))
        )
        return [
            next(answered) if fits else self._refused(len(prompt))
            for prompt, fits in zip(prompts, fitting, strict=True)
        ]

    def _refused(self, tokens: int) -> Reply:
        reason = f"{tokens} prompt tokens; max_prompt_tokens={self.max_prompt_tokens}"
        return Reply(None, error=reason)

    def _decoded(self, batch: Sequence[_Seeded], prompts: list[list[int]]) -> list[Reply]:
        from farm.generation.decode import decode
        from farm.models import chat

        if not batch:
            return []
        started = time.monotonic()
        model, tokenizer = _load(self.folder)
        max_tokens, temperature = batch[0].decoding
        rollouts = decode(
            model,
            prompts,
            row_seeds=[one.row_seed for one in batch],
            max_new_tokens=max_tokens,
            temperature=temperature,
            stop_ids=chat.stop_ids(tokenizer),
            pad_id=tokenizer.pad_token_id,
            batch_size=len(batch),
        )
        responses = rollouts.responses()
        texts = chat.decode_batch(tokenizer, responses)
        latency_s = time.monotonic() - started
        return [
            Reply(
                text,
                model=self.name,
                finish_reason="stop" if stopped else "length",
                top_logprobs=_top_logprobs(model, tokenizer, one.request, prompt),
                usage=Usage(1.0, len(prompt), len(response)),
                cost_usd=0.0,
                latency_s=latency_s,
            )
            for one, prompt, response, text, stopped in zip(
                batch, prompts, responses, texts, rollouts.stopped_B.tolist(), strict=True
            )
        ]


class _Waiting(NamedTuple):
    asked: _Seeded
    answer: "asyncio.Future[Reply]"


class _Desk:
    """Where requests to one model wait, of all judges in this process: whoever is free takes a
    batch of what is there."""

    def __init__(self, decoder: _Decoder, batch_size: int) -> None:
        self._decoder = decoder
        self._batch_size = batch_size
        self._lines: dict[tuple[int, float], list[_Waiting]] = {}
        """By `decoding`; whose turn is next stands first."""
        self._answering: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(_MOST_HELPERS)
        """They wait, each for a batch; the loop has other endpoints to hear."""

    async def ask(self, asked: _Seeded) -> Reply:
        """Stand in line."""
        loop = asyncio.get_running_loop()
        one = _Waiting(asked, loop.create_future())
        self._lines.setdefault(asked.decoding, []).append(one)
        loop.call_soon(
            self._hand_out
        )  # what else is asked in this turn of the loop is there by then
        return await one.answer

    def _hand_out(self) -> None:
        while self._lines and len(self._answering) < max(1, helpers().size):
            decoding, line = next(iter(self._lines.items()))
            del self._lines[decoding]
            batch, rest = line[: self._batch_size], line[self._batch_size :]
            if rest:
                self._lines[decoding] = rest
            task = asyncio.get_running_loop().create_task(self._answer(batch))
            self._answering.add(task)
            task.add_done_callback(self._answered)

    def _answered(self, task: "asyncio.Task[None]") -> None:
        self._answering.discard(task)
        self._hand_out()

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        batch = [one for one in batch if not one.answer.done()]  # whose asker has not given up
        asked = [one.asked for one in batch]
        found = helpers().map(self._decoder.replies, [asked] if asked else [])
        try:
            loop = asyncio.get_running_loop()
            for replies in await loop.run_in_executor(self._threads, list, found):
                for one, reply in zip(batch, replies, strict=True):
                    if not one.answer.done():
                        one.answer.set_result(reply)
        except Exception as error:  # handed to those who wait, who raise it
            for one in batch:
                if not one.answer.done():
                    one.answer.set_exception(error)


@cache
def _desk(decoder: _Decoder, batch_size: int) -> _Desk:
    return _Desk(decoder, batch_size)


def _top_logprobs(
    model: Any, tokenizer: Any, request: ChatRequest, prompt: Sequence[int]
) -> tuple[tuple[str, float], ...] | None:
    if not request.settings.get("logprobs"):
        return None
    import torch

    with torch.inference_mode():
        logits_V = model(torch.tensor([prompt], device=model.device)).logits[0, -1]
    top = logits_V.float().log_softmax(-1).topk(request.settings["top_logprobs"])
    tokens = (tokenizer.decode([token]) for token in top.indices.tolist())
    return tuple(zip(tokens, top.values.tolist(), strict=True))


@cache
def _load(folder: str) -> tuple[Any, Any]:
    """Model and tokenizer, one copy for all judges of this process."""
    from farm.models.load import load_policy, load_tokenizer

    return load_policy(folder), load_tokenizer(folder)
