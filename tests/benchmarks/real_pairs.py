"""Plumbing on real text: DPO and a reward model on AlpacaEval's GPT-4-turbo preferences.

    python tests/benchmarks/real_pairs.py [--instructions 300] [--file PAIRS.parquet]

Rows have instruction, output_1, output_2 and preference (1 to 2). One of five instructions is held
out with all its pairs. In this file output_1 is always GPT-4-turbo's, so that "output_1 wins" and
"the longer wins" score high without reading a word: both stand beside each accuracy. A policy
trained here is contaminated for AlpacaEval.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from farm.context import Context
from farm.data.records import make_pair, user_instruction
from farm.seeds import uniform
from farm.training.preferences import pair_rows
from farm.training.tuning import Full
from farm.types import Decoding, Inputs, Judgment, LabeledPair, PolicyRef, ScorerRef

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("FARM_SHARED_DATA", ROOT.parent / "shared" / "data"))
FILE = SHARED / "alpaca_eval2" / "pairs.parquet"
LIMITS = {"max_prompt_tokens": 96, "max_new_tokens": 128}
BETA = 0.1


@dataclass(frozen=True)
class Split:
    """Labels of disjoint instructions."""

    training: list[LabeledPair]
    held_out: list[LabeledPair]


def read(path: Path, instructions: int) -> Split:
    """The labels of the first instructions of the file, split by instruction."""
    rows = pd.read_parquet(path).dropna(subset=["preference"])
    rows = rows[rows["instruction_id"].isin(sorted(rows["instruction_id"].unique())[:instructions])]
    split = Split([], [])
    for row in rows.itertuples():
        instruction = user_instruction(str(row.instruction), demonstration=str(row.output_1))
        pair = make_pair(instruction, str(row.output_1), str(row.output_2))
        label = LabeledPair(pair, Judgment(pair.id, float(row.preference) - 1, "gpt4", "ab"))
        held_out = uniform(0, "real_pairs", instruction.id) < 0.2
        (split.held_out if held_out else split.training).append(label)
    return split


def accuracy(margins: Sequence[float], labels: Sequence[LabeledPair]) -> float:
    """Share of decided labels, in percent, that margins (positive: output_b) agree with."""
    said = np.array([label.judgment.preference for label in labels], dtype=float)
    found, decided = np.asarray(margins), said != 0.5
    right = (found > 0) == (said > 0.5)
    return 100 * float(np.where(found == 0, 0.5, right)[decided].mean())


def trivial(labels: Sequence[LabeledPair]) -> dict[str, float]:
    """What needs no reading."""
    lengths = [len(p.output_b) - len(p.output_a) for p, _ in labels]
    return {
        "output_1 wins": accuracy([-1.0] * len(labels), labels),
        "the longer wins": accuracy([float(d) for d in lengths], labels),
    }


def run(path: Path, instructions: int, folder: Path) -> dict[str, float]:
    """Train on real text and measure on instructions that were held out."""
    split = read(path, instructions)
    start = _start(split, folder)
    labels = split.training
    reward = _reward(start, labels, _context(folder / "reward"))
    policy = _dpo(start, labels, _context(folder / "dpo"))
    return {
        "training pairs": len(split.training),
        "held-out pairs": len(split.held_out),
        "reward model": accuracy(_scores(reward, split.held_out), split.held_out),
        "DPO's implicit reward": accuracy(_margins(policy, start, split.held_out), split.held_out),
        **trivial(split.held_out),
    }


def _context(work: Path) -> Context:
    work.mkdir(parents=True)
    return Context(seed=0, work=work, tuning=Full())


def _start(split: Split, folder: Path) -> PolicyRef:
    from farm.models.fresh import FreshLlama
    from farm.models.tokenizers import ByteLevelBPE
    from methods.sft import SFT

    texts = list(
        {label.pair.instruction.id: label.pair.instruction for label in split.training}.values()
    )
    fresh = FreshLlama(
        tokenizer=ByteLevelBPE(vocab_size=2048), hidden_size=96, layers=3, heads=4,
        intermediate_size=256, tie_embeddings=True, **LIMITS,
    )  # fmt: skip
    path = fresh.build(texts, folder / "fresh", seed=0)
    untrained = PolicyRef(path, Decoding(1.0, LIMITS["max_new_tokens"]))
    sft = SFT(**LIMITS, epochs=3.0, batch_size=32)
    return sft.fit(untrained, Inputs(demonstrations=texts), _context(folder / "sft"))


def _reward(start: PolicyRef, labels: list[LabeledPair], context: Context) -> ScorerRef:
    from methods.reward.bradley_terry import BradleyTerry

    learner = BradleyTerry(**LIMITS, epochs=2.0, batch_size=32, validation_fraction=0.0)
    return learner.fit(start, labels, context)


def _dpo(start: PolicyRef, labels: list[LabeledPair], context: Context) -> PolicyRef:
    from methods.dpo import DPO

    learner = DPO(**LIMITS, beta=BETA, epochs=2.0, batch_size=32, checkpoint_every=None)
    return learner.fit(start, Inputs(judgments=labels), context)


def _scores(reward: ScorerRef, labels: Sequence[LabeledPair]) -> list[float]:
    from farm.config import build

    scorer = build(reward.config)
    asked = [label.pair.instruction for label in labels]
    a, b = (
        scorer.score(asked, [getattr(label.pair, side) for label in labels])
        for side in ("output_a", "output_b")
    )
    return [float(margin) for margin in b - a]


def _margins(policy: PolicyRef, start: PolicyRef, labels: Sequence[LabeledPair]) -> list[float]:
    from farm.models.load import load_policy, load_tokenizer
    from farm.training.answer_logprobs import frozen_logprobs

    rows = pair_rows(load_tokenizer(policy.path), labels, **LIMITS)
    ours, theirs = load_policy(policy.path, "cpu"), load_policy(start.path, "cpu")

    def ratio(side: list[list[int]]) -> Any:
        new, old = (
            frozen_logprobs(m, rows.prompts, side, tokens_per_batch=8192) for m in (ours, theirs)
        )
        return new - old

    margins: list[float] = (ratio(rows.b) - ratio(rows.a)).tolist()
    return margins


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--instructions", type=int, default=300)
    parser.add_argument("--file", type=Path, default=FILE)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(arguments.file, arguments.instructions, Path(folder))
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
