"""What a study would have measured, made up from known truth, without running anything."""

from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from farm.protocols import FloatArray
from farm.seeds import generator
from farm.studies.measure import Measured
from farm.studies.overoptimization import HELD_OUT, RIVAL
from farm.studies.ranking_study import RankingStudy
from farm.studies.tables import Tables, study_tables

POOL, SINGLE, PEOPLE = "pool", "single", "people"
SHUFFLED = "shuffled"
QUALITY = {
    "start at temperature 0": -0.9,
    "start at temperature 1": 0.0,
    "mild at 50%": 0.4,
    "mild at 100%": 0.8,
    "strong at 50%": 1.2,
    "strong at 100%": 1.7,
}
"""Of policies, in standard deviations of an answer's utility; the reference is at 0."""
STEPS = tuple(range(0, 50, 10))


def study(seeds: Sequence[int] = (1, 2, 3), doses: Sequence[float] = (1.0,)) -> RankingStudy:
    """The settings; without doses no bias is dialled."""
    bias = {"judge": {"strength": 0.0}, "doses": tuple(doses)}
    return RankingStudy(
        seeds=tuple(seeds),
        annotators=(POOL, SINGLE, PEOPLE),
        human=PEOPLE,
        controls=(SHUFFLED,),
        methods=None,
        variants={},
        shares=(0.5, 1.0),
        biases={"length": bias} if doses else {},
        curve="ppo",
        samples=4,
        detect=(2.0, 5.0),
        plan=False,
    )


def measured(of: RankingStudy, *, instructions: int = 30) -> Measured:
    """Policies as good as `QUALITY` says, with people who see it and a single judge who likes the
    opposite; gold turns over with the pool's labels and never with the people's."""
    runs = list(product(of.seeds, of.annotators))
    return Measured(
        policies=pd.concat([_policies(of, *run, instructions) for run in runs], ignore_index=True),
        controls=pd.concat([_controls(of, seed, instructions) for seed in of.seeds]),
        checkpoints=pd.concat(
            [_checkpoints(of, *run, instructions) for run in runs], ignore_index=True
        ),
        samples=pd.concat([_samples(of, *run, instructions) for run in runs], ignore_index=True),
    )


@cache
def study_tables_once() -> Tables:
    """The tables of the study as it comes; not to be changed."""
    return study_tables(measured(study()), study())


def answers(gold: FloatArray, of: RankingStudy, **more: Any) -> pd.DataFrame:
    """Answers of this utility against references at 0, with all verdicts on them."""
    better = 1 / (1 + np.exp(-2 * gold))
    lengths = 40 - 8 * gold
    verdicts = {POOL: better, SINGLE: 1 - better, PEOPLE: better, HELD_OUT: better}
    for name, bias in of.biases.items():
        for dose in bias["doses"]:
            verdicts[f"{name} {dose:g}"] = (1 - dose) * better + dose * (lengths > 40)
    return pd.DataFrame(
        {
            "instruction_id": [f"i{n:03d}" for n in range(len(gold))],
            "length": lengths,
            "gold": gold,
            "gold_reference": 0.0,
            **more,
            **{f"by {name}": verdict for name, verdict in verdicts.items()},
        }
    )


def _policies(of: RankingStudy, seed: int, annotators: str, instructions: int) -> pd.DataFrame:
    frames = []
    for name, quality in QUALITY.items():
        learned = not name.startswith("start")
        noise = generator(seed, name, annotators if learned else "all").normal(size=instructions)
        items = answers(quality + noise, of, seed=seed, annotators=annotators)
        frames.append(items.assign(policy=name, learned=learned, step=0))
    return pd.concat(frames)


def _controls(of: RankingStudy, seed: int, instructions: int) -> pd.DataFrame:
    """What learned from shuffled labels is worse than the reference."""
    noise = generator(seed, SHUFFLED).normal(size=instructions)
    items = answers(noise - 1.5, of, seed=seed, annotators=SHUFFLED)
    return items.assign(policy="mild at 100%", learned=True, step=0)


def _checkpoints(of: RankingStudy, seed: int, annotators: str, instructions: int) -> pd.DataFrame:
    """With the pool's labels gold peaks at half way; with others' it rises."""
    noise = generator(seed, annotators, "checkpoints").normal(size=instructions)
    frames = []
    for step in STEPS:
        progress = step / STEPS[-1]
        gain = 4 * progress * (1 - progress) if annotators == POOL else progress
        rivals = {
            f"{RIVAL}{other}": noise
            + progress
            + generator(other, "rival").normal(size=instructions)
            for other in of.seeds
            if other != seed
        }
        frames.append(
            answers(
                gain + 0.3 * noise, of, proxy=2 * progress + noise, proxy_reference=0.0,
                kl=4 * progress, seed=seed, annotators=annotators, step=step, **rivals,
            )
        )  # fmt: skip
    return pd.concat(frames)


def _samples(of: RankingStudy, seed: int, annotators: str, instructions: int) -> pd.DataFrame:
    """The proxy agrees with gold but for noise, which is larger with the pool's labels."""
    frames = []
    for sample in range(of.samples):
        rng = generator(seed, "samples", sample)
        gold = rng.normal(size=instructions)
        proxy = gold + (1.0 if annotators == POOL else 0.2) * rng.normal(size=instructions)
        items = answers(gold, of, seed=seed, annotators=annotators)
        frames.append(items.assign(sample=sample, proxy=proxy, proxy_reference=0.0, kl=np.nan))
    return pd.concat(frames)
