"""Rollouts, ours against transformers' `generate` and `generate_batch`: seconds for equal work.

    python tests/benchmarks/bench_rollouts.py [--setting tiny forced medium] [--rounds 3]

One model in one process, contestants in turns, the same prompts (words of a random language, 10 to
29 of them), batches and limits; both draw at temperature 1 from the whole distribution. Settings:

- `tiny`: 0.35 M parameters, at most 53 new tokens, taught to stop after a geometrically distributed
  number of tokens (mean 15), as policies do;
- `forced`: the same model, taught never to stop: 28 new tokens for everyone;
- `medium`: 31 M parameters, at most 128 new tokens, mean 40 (`medium-forced`: 128 for everyone).

`generate_batch` (continuous batching) is measured where it runs, its start-up left out: it warms up
on the same prompts first.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from taught import MEDIUM, TINY, Model, Taught, teach

from farm.generation.decode import decode
from farm.seeds import derive


@dataclass(frozen=True)
class Setting:
    """What is decoded."""

    model: Model
    max_new_tokens: int
    mean_length: int | None
    """In tokens; None: no answer ends before the limit."""
    batches: tuple[int, ...]


SETTINGS = {
    "tiny": Setting(TINY, 53, 15, (256, 1024)),
    "forced": Setting(TINY, 28, None, (256, 1024)),
    "medium": Setting(MEDIUM, 128, 40, (64,)),
    "medium-forced": Setting(MEDIUM, 128, None, (64,)),
}

Contestant = Callable[[Sequence[list[int]]], float]
"""Answers the prompts; the mean length of its answers, in tokens."""


def ours(taught: Taught, new: int) -> Contestant:
    """Our loop, in one batch."""

    def answer(prompts: Sequence[list[int]]) -> float:
        rollouts = decode(
            taught.model,
            prompts,
            row_seeds=[derive(0, "bench", row) for row in range(len(prompts))],
            max_new_tokens=new,
            temperature=1.0,
            stop_ids=[taught.end_id],
            pad_id=taught.pad_id,
            batch_size=len(prompts),
        )
        return float(rollouts.mask_B_T.sum(1).float().mean())

    return answer


def generate(taught: Taught, new: int) -> Contestant:
    """transformers', in one batch padded on the left."""

    def answer(prompts: Sequence[list[int]]) -> float:
        width = max(map(len, prompts))
        ids = torch.tensor([[taught.pad_id] * (width - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        with torch.inference_mode():
            found = taught.model.generate(
                input_ids=ids, attention_mask=mask, generation_config=taught.sampled(new)
            )
        return _mean_length(found[:, width:].tolist(), taught)

    return answer


def generate_batch(taught: Taught, new: int) -> Contestant:
    """transformers' continuous batching, which knows other attentions than ours."""
    model = copy.deepcopy(taught.model)
    model.set_attn_implementation("sdpa")

    def answer(prompts: Sequence[list[int]]) -> float:
        found = model.generate_batch(
            list(prompts), generation_config=taught.sampled(new), persistent_manager=True
        )
        return _mean_length([output.generated_tokens for output in found.values()], taught)

    return answer


def _mean_length(answers: Sequence[Sequence[int]], taught: Taught) -> float:
    lengths = [
        row.index(taught.end_id) + 1 if taught.end_id in row else len(row)
        for row in map(list, answers)
    ]
    return statistics.fmean(lengths)


def measure(contestants: dict[str, Contestant], prompts: list[list[int]], rounds: int) -> None:
    """In turns, after one round that does not count; prints a row for each."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    lengths: dict[str, float] = {}
    for turn in range(rounds + 1):
        for name, answer in contestants.items():
            began = time.perf_counter()
            lengths[name] = answer(prompts)
            if turn:
                seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(took) for name, took in seconds.items()}
    for name, took in medians.items():
        print(
            f"| {len(prompts)} | {name} | {took:.2f} | {lengths[name]:.1f} "
            f"| {took / medians['farm']:.2f} |",
            flush=True,
        )


def main() -> None:
    """Measure the settings, a table each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setting", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for name in options.setting:
        setting = SETTINGS[name]
        taught = teach(setting.model, setting.max_new_tokens, setting.mean_length)
        print(f"\n{name}: {taught.model.num_parameters() / 1e6:.2f} M parameters\n")
        print("| batch | side | seconds | mean length | times ours |")
        print("| ---: | --- | ---: | ---: | ---: |")
        new = setting.max_new_tokens
        for batch in setting.batches:
            sides = {"farm": ours(taught, new), "generate": generate(taught, new)}
            measure(sides, taught.prompts[:batch], options.rounds)
        sides = {"farm": ours(taught, new), "generate_batch": generate_batch(taught, new)}
        measure(sides, taught.prompts[: setting.batches[0]], 1)


if __name__ == "__main__":
    main()
