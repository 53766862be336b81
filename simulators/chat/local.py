"""A chat model in this process: transformers weights, decoded by our own sampler. A stage runs in
a Ray actor, so its judges do too."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import cache, cached_property
from itertools import compress
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from farm.artifacts import content_hash
from farm.errors import ConfigError
from farm.seeds import derive
from farm.types import Usage
from simulators.chat.cached import request_key
from simulators.chat.types import Capabilities, ChatRequest, Reply


class _Waiting(NamedTuple):
    request: ChatRequest
    answer: "asyncio.Future[Reply]"


class LocalModel:
    """Answers with the causal language model in the folder `path`, `batch_size` requests at
    a time. What is sampled depends on the weights, the request, its draw and the judge's seed
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
        self.concurrency = batch_size
        self.capabilities = Capabilities(json_mode=False, seed="run")
        self._max_prompt_tokens = max_prompt_tokens
        self._waiting: list[_Waiting] = []

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
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Reply] = loop.create_future()
        if not self._waiting:  # what else is asked in this turn of the loop joins the batch
            loop.call_soon(self._answer_all)
        self._waiting.append(_Waiting(request, answer))
        return await answer

    def _answer_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        alike: dict[tuple[int, float], list[_Waiting]] = defaultdict(list)
        for one in waiting:
            settings = one.request.settings
            alike[settings["max_tokens"], settings.get("temperature", 1.0)].append(one)
        for (max_tokens, temperature), group in alike.items():
            try:
                self._answer(group, max_tokens, temperature)
            except Exception as error:  # handed to those who wait, who raise it
                for one in group:
                    one.answer.set_exception(error)

    def _answer(self, group: Sequence[_Waiting], max_tokens: int, temperature: float) -> None:
        from farm.generation.decode import decode
        from farm.models import chat

        started = time.monotonic()
        model, tokenizer = self._loaded
        prompts = chat.prompts_ids(tokenizer, [one.request.messages for one in group])
        fitting = [len(prompt) <= self._max_prompt_tokens for prompt in prompts]
        for one, prompt, fits in zip(group, prompts, fitting, strict=True):
            if not fits:
                reason = f"{len(prompt)} prompt tokens; max_prompt_tokens={self._max_prompt_tokens}"
                one.answer.set_result(Reply(None, error=reason))
        group, prompts = list(compress(group, fitting)), list(compress(prompts, fitting))
        if not group:
            return
        rollouts = decode(
            model,
            prompts,
            row_seeds=[self._row_seed(one.request) for one in group],
            max_new_tokens=max_tokens,
            temperature=temperature,
            stop_ids=chat.stop_ids(tokenizer),
            pad_id=tokenizer.pad_token_id,
            batch_size=self.concurrency,
        )
        responses = rollouts.responses()
        texts = chat.decode_batch(tokenizer, responses)
        latency_s = time.monotonic() - started
        for one, prompt, response, text, stopped in zip(
            group, prompts, responses, texts, rollouts.stopped_B.tolist(), strict=True
        ):
            reply = Reply(
                text,
                model=self.model,
                finish_reason="stop" if stopped else "length",
                top_logprobs=self._top_logprobs(one.request, prompt),
                usage=Usage(1.0, len(prompt), len(response)),
                cost_usd=0.0,
                latency_s=latency_s,
            )
            one.answer.set_result(reply)

    def _row_seed(self, request: ChatRequest) -> int:
        return derive(request.settings.get("seed", 0), "local", request_key(self.server, request))

    def _top_logprobs(
        self, request: ChatRequest, prompt: Sequence[int]
    ) -> tuple[tuple[str, float], ...] | None:
        if not request.settings.get("logprobs"):
            return None
        import torch

        model, tokenizer = self._loaded
        with torch.inference_mode():
            logits_V = model(torch.tensor([prompt], device=model.device)).logits[0, -1]
        top = logits_V.float().log_softmax(-1).topk(request.settings["top_logprobs"])
        tokens = (tokenizer.decode([token]) for token in top.indices.tolist())
        return tuple(zip(tokens, top.values.tolist(), strict=True))

    @property
    def _loaded(self) -> tuple[Any, Any]:
        return _load(self.model)


@cache
def _load(path: str) -> tuple[Any, Any]:
    """Model and tokenizer, one copy for all judges of this process."""
    from farm.models.load import load_policy, load_tokenizer

    return load_policy(path), load_tokenizer(path)
