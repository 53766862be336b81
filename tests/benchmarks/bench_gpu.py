"""Rollouts and updates of Qwen2-shaped models of 0.5 and 1.5 billion parameters on one GPU, against
what the card can do: tokens per second beside the limits that its memory and matrix units set.

    python tests/benchmarks/bench_gpu.py [--size 0.5B 1.5B] [--rounds 3] [--profile FOLDER]
    python tests/benchmarks/bench_gpu.py --device cpu --size tiny  # that the script works, no more

`--profile` writes where the time of one rollout and of one update goes, by kernel.

Weights are random, so no answer stops before its limit. Both limits are measured in the same run:

- a decoding step reads all weights once and the keys and values of every row, so that
  tokens/s <= rows * bandwidth / bytes, the bandwidth being that of copying a large tensor (bytes
  read and written);
- an update takes 6 floating-point operations per token and parameter (forward 2, backward 4), for
  the output layer at answer tokens alone, and 6 * width * length per token and layer for causal
  attention; what is computed again under gradient checkpointing does not count (model FLOP
  utilisation, Chowdhery et al. 2022, arXiv 2204.02311, appendix B). The rate that it is held
  against is that of a large bfloat16 product.

Rollouts are those of `farm.generation.decode` with weights in bfloat16, as learners draw; updates
are GRPO's, float32 weights under bfloat16 autocast, as `tuning.precision=auto` computes on a GPU.
`compiled` is `tuning.compile=true`.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from qwen_shaped import HALF_BILLION, ONE_AND_A_HALF_BILLION, TINY, qwen_shaped

from farm.context import Context
from farm.generation.decode import decode
from farm.generation.drawing import Rollouts
from farm.memory import GIB, Shape
from farm.models.blocks import fuse_small_operations
from farm.models.packing import allow_packing
from farm.seeds import derive, generator
from farm.training.episodes import Episodes, Observed
from farm.training.networks import Networks, networks
from farm.training.on_policy import Run
from farm.training.ranks import Alone
from farm.training.tuning import Full
from farm.types import Inputs
from methods.grpo import GRPO


@dataclass(frozen=True)
class Size:
    """What is measured."""

    shape: Shape
    rows: int
    """Answers decoded together, and answers of an update."""
    prompt: int
    answer: int
    copied_bytes: int
    matrix: int
    """Width of the square product."""

    @property
    def updated_tokens(self) -> int:
        """Of prompts and answers."""
        return self.rows * (self.prompt + self.answer)


PROFILED = 16
"""New tokens of a rollout whose kernels are counted."""

_ON_A_GPU = {"rows": 256, "prompt": 128, "answer": 256, "copied_bytes": 2 * GIB, "matrix": 8192}
SIZES = {
    "0.5B": Size(HALF_BILLION, **_ON_A_GPU),
    "1.5B": Size(ONE_AND_A_HALF_BILLION, **_ON_A_GPU),
    "tiny": Size(TINY, rows=8, prompt=8, answer=8, copied_bytes=2**24, matrix=256),
}


class Timed(NamedTuple):
    """A measurement."""

    seconds: float
    """Median over the rounds, after one that does not count."""
    peak_bytes: int | None
    """Of the GPU's memory; None on a CPU."""


class Device:
    """Where it is measured."""

    def __init__(self, name: str, rounds: int, profiles: Path | None) -> None:
        self.name, self._rounds, self._profiles = name, rounds, profiles
        self.is_gpu = name == "cuda"

    def describe(self) -> str:
        """For the table's head."""
        return torch.cuda.get_device_name() if self.is_gpu else "CPU"

    def time(self, work: Callable[[], object]) -> Timed:
        """How long the work takes."""
        if self.is_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        seconds = [self._once(work) for _ in range(1 + self._rounds)][1:]
        peak = torch.cuda.max_memory_allocated() if self.is_gpu else None
        return Timed(statistics.median(seconds), peak)

    def profile(self, name: str, work: Callable[[], object]) -> None:
        """Write down which kernels take the time, where profiles are asked for."""
        if self._profiles is None:
            return
        with torch.profiler.profile() as found:
            self._once(work)
        key = "self_cuda_time_total" if self.is_gpu else "self_cpu_time_total"
        table = found.key_averages().table(sort_by=key, row_limit=40, max_name_column_width=90)
        (self._profiles / f"{name.replace(' ', '-')}.txt").write_text(table)

    def _once(self, work: Callable[[], object]) -> float:
        began = time.perf_counter()
        work()
        if self.is_gpu:
            torch.cuda.synchronize()
        return time.perf_counter() - began


def bandwidth(device: Device, size: Size) -> float:
    """Bytes per second, read and written, of copying a large tensor."""
    source = torch.ones(size.copied_bytes, dtype=torch.uint8, device=device.name)
    target = torch.empty_like(source)
    return 2 * size.copied_bytes / device.time(lambda: target.copy_(source)).seconds


def matrix_rate(device: Device, size: Size) -> float:
    """Floating-point operations per second of a large bfloat16 product."""
    a, b = (
        torch.randn(size.matrix, size.matrix, dtype=torch.bfloat16, device=device.name)
        for _ in range(2)
    )
    return 2 * size.matrix**3 / device.time(lambda: a @ b).seconds


def step_bytes(size: Size, bytes_per_number: int) -> float:
    """What a decoding step reads, at an answer's middle: weights, and keys and values."""
    shape = size.shape
    head = shape.hidden // shape.heads
    key_values = 2 * shape.layers * shape.key_value_heads * head
    positions = size.rows * (size.prompt + size.answer / 2)
    return bytes_per_number * (shape.parameters + key_values * positions)


def update_operations(size: Size) -> float:
    """Floating-point operations of one pass over all rows, forward and backward."""
    shape = size.shape
    output = shape.vocabulary * shape.hidden
    trunk = shape.parameters - output  # the embedding is looked up; tied, it is the output layer
    length = size.prompt + size.answer
    attention = 6 * shape.layers * shape.hidden * length
    return (6 * trunk + attention) * size.updated_tokens + 6 * output * size.rows * size.answer


def prompts(size: Size) -> list[list[int]]:
    """Random ids."""
    rng = generator(0, "bench_gpu")
    ids: list[list[int]] = rng.integers(0, size.shape.vocabulary, (size.rows, size.prompt)).tolist()
    return ids


def roll_out(model: Any, size: Size) -> Rollouts:
    """One answer per prompt, up to the limit."""
    return decode(
        model, prompts(size), row_seeds=[derive(0, "row", row) for row in range(size.rows)],
        max_new_tokens=size.answer, temperature=1.0, stop_ids=[size.shape.vocabulary],
        pad_id=0, batch_size=size.rows,
    )  # fmt: skip


def rollout_rows(device: Device, size: Size, bytes_per_second: float) -> Iterator[str]:
    """Rows of the table."""
    model = allow_packing(qwen_shaped(size.shape).to(device.name, torch.bfloat16))
    limit = size.rows * bytes_per_second / step_bytes(size, bytes_per_number=2)

    def measured(name: str) -> str:
        timed = device.time(partial(roll_out, model, size))
        few = replace(size, answer=PROFILED)
        device.profile(f"{size.shape.name} rollout {name}", partial(roll_out, model, few))
        return row(f"rollout, {name}", size.rows * size.answer / timed.seconds, limit, timed)

    yield measured("as it is")
    fuse_small_operations(model)
    yield measured("compiled")


def update_rows(device: Device, size: Size, operations_per_second: float) -> Iterator[str]:
    """Rows of the table."""
    for name, how in {
        "compiled": {"compile": True},
        "as it is": {},
        "gradient checkpointing": {"gradient_checkpointing": True},
    }.items():
        with tempfile.TemporaryDirectory() as folder:
            tuning = Full(precision="bfloat16", **how)
            work = update(Context(0, Path(folder), tuning, device=device.name), size)
            timed = device.time(work)
            device.profile(f"{size.shape.name} update {name}", work)
        rate = size.updated_tokens / timed.seconds
        limit = size.updated_tokens * operations_per_second / update_operations(size)
        yield row(f"update, {name}", rate, limit, timed)


def update(context: Context, size: Size) -> Callable[[], object]:
    """One pass of GRPO over the rows, in two minibatches."""
    model = context.tuning.apply(allow_packing(qwen_shaped(size.shape).to(context.device)), seed=0)
    learner = GRPO(
        max_prompt_tokens=size.prompt, max_new_tokens=size.answer, epochs=1,
        minibatch_size=size.rows // 2, tokens_per_batch=8192,
    )  # fmt: skip
    nets: Networks = networks(
        {"model": model}, learning_rate=1e-6, adam_epsilon=1e-5,
        lr_schedule="constant_with_warmup", warmup_steps=0, optimizer_steps=1000, ranks=Alone(),
    )  # fmt: skip
    run = Run([], [], Inputs(), None, None, nets, context, None)  # type: ignore[arg-type]
    rng = generator(0, "bench_gpu", "answers")
    answers = rng.integers(0, size.shape.vocabulary, (size.rows, size.answer)).tolist()
    shape = (size.rows, size.answer)
    numbers = torch.zeros(shape, device=context.device)
    mask = torch.ones(shape, dtype=torch.bool, device=context.device)
    episodes = Episodes(prompts(size), answers, mask, mask[:, 0], numbers)
    observed = Observed(numbers, numbers, numbers, numbers, numbers[None])
    advantages_B_T = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(mask.device)
    loss = learner.minibatch_loss(nets, episodes, observed, advantages_B_T)
    return lambda: learner.update(run, episodes.lengths(), loss)


def row(name: str, rate: float, limit: float, timed: Timed) -> str:
    """One line of the table."""
    peak = "not measured" if timed.peak_bytes is None else f"{timed.peak_bytes / GIB:.1f}"
    return f"| {name} | {rate:,.0f} | {limit:,.0f} | {100 * rate / limit:.0f} | {peak} |"


def main() -> None:
    """Print the table, or why there is none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--size", nargs="+", choices=SIZES, default=["0.5B", "1.5B"])
    parser.add_argument("--profile", type=Path, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("bench_gpu: skipped, for torch finds no CUDA device on this machine.")
        return
    device = Device(options.device, options.rounds, options.profile)
    for name in options.size:
        measure(device, SIZES[name])


def measure(device: Device, size: Size) -> None:
    """One model's table."""
    bytes_per_second, operations = bandwidth(device, size), matrix_rate(device, size)
    print(
        f"\n{size.shape.name} ({size.shape.parameters / 1e6:,.1f} M parameters) on "
        f"{device.describe()}, torch {torch.__version__}: copies {bytes_per_second / 1e9:,.1f} "
        f"GB/s, bfloat16 products {operations / 1e12:,.3g} TFLOP/s; prompts of {size.prompt} and "
        f"answers of {size.answer} tokens.\n"
    )
    print("| work | tokens/s | limit, tokens/s | % of it | peak GiB |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for line in rollout_rows(device, size, bytes_per_second):
        print(line, flush=True)
    for line in update_rows(device, size, operations):
        print(line, flush=True)


if __name__ == "__main__":
    main()
