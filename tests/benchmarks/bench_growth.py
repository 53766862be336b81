"""Time and memory of each stage against instructions, parameters and annotators, over two decades.

    python tests/benchmarks/bench_growth.py [--axis instructions] [--stage sampling ...]

Every size of every stage is a process of its own, whose preparation is left out: processor seconds
of the stage, and by how much the process's peak of resident memory grew in it. The exponents b are
least-squares slopes of log(seconds) on log(size), over all sizes and between the last two, where
what is paid once weighs least: 1 is linear.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

LIMITS = {"max_prompt_tokens": 80, "max_new_tokens": 48}
Work = Callable[[], object]
WIDTHS = {0.1: 48, 1.0: 168, 10.0: 544}
"""Hidden sizes by millions of parameters, with three layers."""


class Sizes(NamedTuple):
    """Of one measurement."""

    instructions: int = 1000
    parameters_m: float = 0.1
    """Millions."""
    annotators: int = 6


AXES: dict[str, list[Sizes]] = {
    "instructions": [Sizes(instructions=n) for n in (100, 1_000, 10_000)],
    "parameters_m": [Sizes(instructions=256, parameters_m=m) for m in WIDTHS],
    "annotators": [Sizes(annotators=n) for n in (1, 10, 100)],
}


def rows_of(sizes: Sizes) -> list[Any]:
    """Instructions with demonstrations."""
    from farm.data.barnyard.source import Barnyard

    return list(
        Barnyard(
            sft=0, preference=sizes.instructions, unlabeled=0, validation=0, evaluation=0,
            held_out=0,
        ).load()["preference"]
    )  # fmt: skip


def pairs_of(sizes: Sizes) -> list[Any]:
    """Demonstrations against those of other instructions."""
    from farm.data.records import make_pair

    rows = rows_of(sizes)
    texts = [row.demonstration or "" for row in rows]
    return [make_pair(*row) for row in zip(rows, texts, texts[1:] + texts[:1], strict=True)]


def policy_of(sizes: Sizes, folder: Path) -> Any:
    """Untrained, of the size that is asked for."""
    from farm.models.fresh import FreshLlama
    from farm.models.tokenizers import WordLevel
    from farm.types import Decoding, PolicyRef

    hidden = WIDTHS[sizes.parameters_m]
    model = FreshLlama(
        tokenizer=WordLevel(), hidden_size=hidden, layers=3, heads=4,
        intermediate_size=2 * hidden + hidden // 2, tie_embeddings=True, **LIMITS,
    )  # fmt: skip
    path = model.build(rows_of(Sizes(instructions=1000)), folder / "policy", seed=0)
    return PolicyRef(str(path), Decoding(1.0, LIMITS["max_new_tokens"]))


def pool_of(sizes: Sizes) -> Any:
    """As many personas as are asked for: the barnyard's, over and over, each with its own name."""
    from omegaconf import OmegaConf

    import conf
    from farm.config import build

    path = Path(conf.__file__).parent / "annotators" / "clean" / "barnyard.yaml"
    node: Any = OmegaConf.to_container(OmegaConf.load(path))
    personas = node["annotator"]["annotators"]
    node["annotator"]["annotators"] = [
        {**personas[i % len(personas)], "name": f"persona {i}"} for i in range(sizes.annotators)
    ]
    return build(node)


def labels_of(sizes: Sizes) -> list[Any]:
    """The pool's, of `pairs_of`."""
    from farm.types import LabeledPair

    pairs = pairs_of(sizes)
    judged = pool_of(sizes).annotate(pairs, seed=0)
    return [LabeledPair(*row) for row in zip(pairs, judged, strict=True)]


# ------------------------------------------------ stages: prepared here, measured when called


def instructions(sizes: Sizes, folder: Path) -> Work:
    """Making them."""
    return lambda: rows_of(sizes)


def sampling(sizes: Sizes, folder: Path) -> Work:
    """An answer to each."""
    from farm.generation.sampler import FarmSampler

    sampler = FarmSampler(policy_of(sizes, folder), 256, LIMITS["max_prompt_tokens"], "cpu")
    rows = rows_of(sizes)
    sampler.sample(rows[:1], n=1, seed=1)  # the model loads
    return lambda: sampler.sample(rows, n=1, seed=0)


def judging(sizes: Sizes, folder: Path) -> Work:
    """A verdict on each pair."""
    pool, pairs = pool_of(sizes), pairs_of(sizes)
    return lambda: pool.annotate(pairs, seed=0)


def expectation(sizes: Sizes, folder: Path) -> Work:
    """What the whole pool makes of each pair, without noise."""
    pool, pairs = pool_of(sizes), pairs_of(sizes)
    return lambda: pool.expectation(pairs)


def reward_model(sizes: Sizes, folder: Path) -> Work:
    """An epoch."""
    from methods.reward.bradley_terry import BradleyTerry

    start, labels = policy_of(sizes, folder), labels_of(sizes)
    learner = BradleyTerry(
        **LIMITS, batch_size=64, learning_rate=5e-4, epochs=1.0, warmup_ratio=0.03,
        validation_fraction=0.0,
    )  # fmt: skip
    return lambda: learner.fit(start, labels, _context(folder))


def dpo(sizes: Sizes, folder: Path) -> Work:
    """An epoch."""
    from farm.types import Inputs
    from methods.dpo import DPO

    start, labels = policy_of(sizes, folder), labels_of(sizes)
    learner = DPO(
        **LIMITS, batch_size=64, learning_rate=5e-4, epochs=1.0, beta=0.1, checkpoint_every=None
    )
    return lambda: learner.fit(start, Inputs(judgments=labels), _context(folder))


def ppo(sizes: Sizes, folder: Path) -> Work:
    """One step with as many episodes as there are instructions, rewarded for short answers."""
    from farm.training.kl_control import FixedKL
    from farm.types import Inputs
    from methods.ppo import PPO
    from methods.ppo_value import TrunkValue

    class Short:
        def score(self, instructions: Sequence[Any], completions: Sequence[str]) -> Any:
            return np.array([-float(len(text)) for text in completions])

    learner = PPO(
        **LIMITS, value=TrunkValue(), kl=FixedKL(0.1), steps=1, minibatch_size=64, epochs=1,
        episodes_per_step=sizes.instructions, checkpoint_every=None,
    )  # fmt: skip
    start, rows = policy_of(sizes, folder), rows_of(sizes)
    return lambda: learner.fit(start, Inputs(instructions=rows, reward=Short()), _context(folder))


def length_control(sizes: Sizes, folder: Path) -> Work:
    """A length-controlled rate with its interval."""
    import pandas as pd

    from farm.evaluation import length_controlled_win_rate
    from farm.seeds import generator

    rng, n = generator(0, "bench_growth"), sizes.instructions
    frame = pd.DataFrame({
        "instruction_id": [str(i) for i in range(n)],
        "length_baseline": rng.integers(20, 2000, n),
        "length_model": rng.integers(20, 2000, n),
        "preference": rng.random(n),
    })  # fmt: skip
    return lambda: length_controlled_win_rate(frame)


def bootstrap(sizes: Sizes, folder: Path) -> Work:
    """An interval over five seeds and all instructions."""
    from farm.evaluation.intervals import crossed_interval
    from farm.seeds import generator

    values_S_N = generator(0, "bench_growth").random((5, sizes.instructions))
    return lambda: crossed_interval(values_S_N, seed=0)


def _context(folder: Path) -> Any:
    from farm.context import Context
    from farm.training.tuning import Full

    return Context(0, Path(tempfile.mkdtemp(dir=folder)), Full())


STAGES: dict[str, Callable[[Sizes, Path], Work]] = {
    stage.__name__: stage
    for stage in (
        instructions, sampling, judging, expectation, reward_model, dpo, ppo, length_control,
        bootstrap,
    )
}  # fmt: skip
ASKED = {
    "instructions": list(STAGES),
    "parameters_m": ["sampling", "reward_model", "dpo", "ppo"],
    "annotators": ["judging", "expectation"],
}
"""What grows along each axis."""


def measure(stage: str, sizes: Sizes) -> None:
    """One size in this process; prints a JSON line."""
    with tempfile.TemporaryDirectory() as folder:
        work = STAGES[stage](sizes, Path(folder))
        before, began = _peak_mb(), time.process_time()
        work()
        cpu_s = time.process_time() - began
        print(json.dumps({"cpu_s": cpu_s, "mb": _peak_mb() - before}))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Of log on log; NaN where nothing was seen."""
    if min(values) <= 0:
        return float("nan")
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def main() -> None:
    """A row per stage and axis, as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--axis", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--stage", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--measure", nargs=4, metavar=("STAGE", *Sizes._fields), help="one size")
    options = parser.parse_args()
    if options.measure:
        stage, count, millions, people = options.measure
        measure(stage, Sizes(int(count), float(millions), int(people)))
        return
    print("| axis | stage | seconds | MB | b, all | b, last decade | b of memory, last decade |")
    print("| --- | --- | --- | --- | ---: | ---: | ---: |")
    for axis in options.axis:
        for stage in ASKED[axis]:
            if stage in options.stage:
                print(_row(axis, stage), flush=True)


def _row(axis: str, stage: str) -> str:
    along = AXES[axis]
    found = [_measured(stage, sizes) for sizes in along]
    xs = [float(getattr(sizes, axis)) for sizes in along]
    seconds, mb = ([each[key] for each in found] for key in ("cpu_s", "mb"))
    return (
        f"| {axis}: {', '.join(f'{x:,g}' for x in xs)} | {stage} "
        f"| {', '.join(f'{s:.2f}' for s in seconds)} | {', '.join(f'{m:.0f}' for m in mb)} "
        f"| {slope(xs, seconds):.2f} | {slope(xs[-2:], seconds[-2:]):.2f} "
        f"| {slope(xs[-2:], mb[-2:]):.2f} |"
    )


def _measured(stage: str, sizes: Sizes) -> dict[str, float]:
    asked = [stage, *map(str, sizes)]
    done = subprocess.run(
        [sys.executable, __file__, "--measure", *asked], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
