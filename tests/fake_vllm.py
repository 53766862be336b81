"""As much of vLLM as the sandbox asks for, on our own decoder: a stand-in that remembers what it
was asked, forgets its weights when it sleeps, and refuses what the real one could not do."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file

from farm.generation.decode import decode
from farm.models.load import load_policy

CALLS: list[str] = []
"""What all engines were asked, in order."""
_DTYPES = {"auto": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class SamplingParams:
    """One request's."""

    temperature: float
    max_tokens: int
    seed: int
    stop_token_ids: list[int] = field(default_factory=list)
    ignore_eos: bool = False
    logprobs: int | None = None
    detokenize: bool = True


class LLM:
    """An engine."""

    def __init__(
        self,
        model: str,
        *,
        max_model_len: int,
        dtype: str,
        gpu_memory_utilization: float,
        load_format: str,
        enable_sleep_mode: bool,
        logprobs_mode: str,
    ) -> None:
        assert load_format == "safetensors" and logprobs_mode == "processed_logprobs"
        assert 0 < gpu_memory_utilization <= 1
        CALLS.append("start")
        self._model = load_policy(model, "cpu", _DTYPES[dtype])
        self._longest, self._may_sleep = max_model_len, enable_sleep_mode
        self._awake = {"weights", "kv_cache"}
        self._stale = False

    def sleep(self, level: int = 1) -> None:
        assert self._may_sleep and level == 2
        CALLS.append("sleep")
        self._awake = set()
        with torch.no_grad():
            for parameter in self._model.parameters():
                parameter.fill_(torch.nan)

    def wake_up(self, tags: list[str]) -> None:
        CALLS.append(f"wake {' '.join(tags)}")
        self._awake |= set(tags)

    def collective_rpc(self, method: str, *, kwargs: dict[str, Any]) -> None:
        assert method == "reload_weights" and "weights" in self._awake
        CALLS.append("weights")
        self._stale = True  # what it remembers of prompts was computed with others
        found = load_file(Path(kwargs["weights_path"]) / "model.safetensors")
        state = self._model.state_dict()
        assert found.keys() <= state.keys()
        self._model.load_state_dict(found, strict=False)
        self._model.tie_weights()
        assert not any(weight.isnan().any() for weight in self._model.parameters())

    def reset_prefix_cache(self) -> None:
        CALLS.append("forget prefixes")
        self._stale = False

    def generate(
        self, prompts: list[dict[str, list[int]]], params: list[SamplingParams], *, use_tqdm: bool
    ) -> list[Any]:
        assert self._awake == {"weights", "kv_cache"} and not self._stale
        CALLS.append("generate")
        one = params[0]
        assert one.ignore_eos and one.logprobs == 0
        asked = [prompt["prompt_token_ids"] for prompt in prompts]
        assert max(map(len, asked)) + one.max_tokens <= self._longest
        found = decode(
            self._model, asked, row_seeds=[each.seed for each in params],
            max_new_tokens=one.max_tokens, temperature=one.temperature,
            stop_ids=one.stop_token_ids, pad_id=0, batch_size=256,
        )  # fmt: skip
        return [
            SimpleNamespace(outputs=[_completion(ids, chances, bool(stopped))])
            for ids, chances, stopped in zip(
                found.responses(), found.logprobs_B_T.tolist(), found.stopped_B, strict=True
            )
        ]


def _completion(ids: list[int], logprobs: list[float], stopped: bool) -> Any:
    chances = [
        {id: SimpleNamespace(logprob=logprob)} for id, logprob in zip(ids, logprobs, strict=False)
    ]
    reason = "stop" if stopped else "length"
    return SimpleNamespace(token_ids=tuple(ids), logprobs=chances, finish_reason=reason)
