"""What is asked of vLLM itself: the one module that imports it.

Written for vLLM 0.30, against its sources (`vllm.LLM`: sleep, wake_up, collective_rpc, generate;
`GPUModelRunner.reload_weights`). Not yet run.
"""

import gc
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from farm.generation.moved import Answer, Asked

_IN_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class EngineKeys:
    """What an engine is started with."""

    path: str
    """The policy's directory."""
    max_model_len: int
    """Tokens of a prompt and its answer, at most."""
    dtype: str
    gpu_memory_utilization: float
    learns: bool = False
    """Whether the policy's weights change, and the engine sleeps in between."""


class VllmEngine:
    """vLLM with a policy's weights, in processes of its own on this process's GPU."""

    def __init__(self, keys: EngineKeys) -> None:
        from vllm import LLM

        self._asleep = False
        self._llm: Any = LLM(
            keys.path,
            max_model_len=keys.max_model_len,
            dtype=keys.dtype,
            gpu_memory_utilization=keys.gpu_memory_utilization,
            load_format="safetensors",
            enable_sleep_mode=keys.learns,
            logprobs_mode="processed_logprobs",  # of the distribution at the temperature asked for
        )

    def answer(self, asked: "Asked", how: Mapping[str, Any]) -> "list[Answer]":
        """One answer to each prompt; of `how`, the keywords of `farm.generation.decode.decode`, the
        sizes of batches and paddings do not matter."""
        from vllm import SamplingParams

        from farm.generation.moved import Answer

        requests = [
            SamplingParams(
                temperature=how["temperature"],
                max_tokens=how["max_new_tokens"],
                stop_token_ids=list(how["stop_ids"]),
                ignore_eos=True,  # what ends an answer is in stop_ids, as in our own loop
                seed=seed,
                logprobs=0,  # of the sampled token alone
                detokenize=False,
            )
            for seed in asked.row_seeds
        ]
        prompts = [{"prompt_token_ids": list(prompt)} for prompt in asked.prompts]
        outputs = self._llm.generate(prompts, requests, use_tqdm=False)
        drawn = [output.outputs[0] for output in outputs]
        return [
            Answer(
                list(one.token_ids),
                [
                    chances[token].logprob
                    for token, chances in zip(one.token_ids, one.logprobs, strict=True)
                ],
                one.finish_reason == "stop",
            )
            for one in drawn
        ]

    def sleep(self) -> None:
        """Give the GPU's memory back: weights are forgotten, for others will come (level 2)."""
        if not self._asleep:
            self._llm.sleep(level=2)
            self._asleep = True

    def load(self, weights: "Mapping[str, Tensor]") -> None:
        """Wake up with these weights, named as in a checkpoint.

        They go through a file in memory: that reaches the engine's processes, however many there
        are, and vLLM itself splits, joins and casts them. The room for keys and values is taken
        last, so that what loading needs fits (docs.vllm.ai, "Sleep Mode").
        """
        from safetensors.torch import save_file
        from torch import cuda

        self.sleep()
        cuda.empty_cache()  # what torch keeps for later here, another process cannot have
        place = _IN_MEMORY if _IN_MEMORY.is_dir() else None
        with tempfile.TemporaryDirectory(prefix="farm-weights-", dir=place) as folder:
            save_file(dict(weights), Path(folder) / "model.safetensors")
            self._llm.wake_up(tags=["weights"])
            self._llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})
        self._llm.wake_up(tags=["kv_cache"])
        self._llm.reset_prefix_cache()  # computed with other weights
        self._asleep = False


_held: dict[EngineKeys, VllmEngine] = {}


def engine_here(keys: EngineKeys) -> VllmEngine:
    """This process's engine, started where it is not there; one that was started otherwise ends,
    for a GPU has room for one."""
    if keys not in _held:
        _held.clear()
        gc.collect()  # vLLM ends with its object
        _held[keys] = VllmEngine(keys)
    return _held[keys]
