"""I-SHEEP in a toy world: repeat three words, which half of the demonstrations do backwards.

The base writes tasks, answers them right in half of the cases, and gets better from those answers
that a reward picks, and not from as many others.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import toy_policy as toy

from farm.context import read_notes
from farm.data.candidates import Candidate, outcomes, read_candidates
from farm.data.records import last_user_text, user_instruction
from farm.data.self_instruct import WithTaskWriting
from farm.errors import ConfigError, DataError
from farm.generation.sampler import FarmSampler
from farm.models.fresh import FreshLlama
from farm.models.tokenizers import WordLevel
from farm.protocols import FloatArray
from farm.seeds import derive, generator
from farm.training.links import link
from farm.types import SPLITS, Decoding, Inputs, Instruction, PolicyRef, SplitName
from methods.isheep import ISheep
from methods.isheep_variants import (
    AtLeast,
    Continued,
    Cumulative,
    FromBase,
    RandomOfEqualSize,
)
from methods.sft import SFT

LIMITS = {"max_prompt_tokens": 64, "max_new_tokens": 8}
SHORT = {**LIMITS, "learning_rate": 5e-3, "batch_size": 32, "epochs": None, "max_steps": 25}
KEYS = {
    **SHORT, "rounds": 2, "tasks": 120, "seed_tasks": 20, "examples": 2, "temperature": 1.0,
}  # fmt: skip


def asked(n: int, seed: int) -> list[Instruction]:
    rng = generator(seed, "three words")
    rows = []
    for number in range(n):
        words = rng.choice(toy.WORDS, 3).tolist()
        answer = words if number % 2 else words[::-1]
        rows.append(user_instruction(f"repeat {' '.join(words)}", " ".join(answer)))
    return rows


class Toy:
    """A source of nothing but the split `sft`."""

    def load(self) -> Mapping[SplitName, Sequence[Instruction]]:
        return {**{split: [] for split in SPLITS}, "sft": asked(1500, seed=0)}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> PolicyRef:
    folder = tmp_path_factory.mktemp("base")
    rows = WithTaskWriting(source=Toy(), tasks=500, examples=2).load()["sft"]
    source = FreshLlama(
        tokenizer=WordLevel(), hidden_size=32, layers=2, heads=2, intermediate_size=64,
        tie_embeddings=False, **LIMITS,
    )  # fmt: skip
    path = source.build(rows, folder / "untrained", seed=0)
    untrained = PolicyRef(path, Decoding(temperature=1.0, max_new_tokens=8))
    keys = {**SHORT, "learning_rate": 1e-2, "max_steps": 300}
    return SFT(**keys).fit(untrained, Inputs(demonstrations=rows), toy.context(folder / "sft"))


def is_right(instruction: Instruction, answer: str) -> bool:
    return f"repeat {answer}" == last_user_text(instruction)


@dataclass
class Assessor:
    """10 for a right answer, 1 for a wrong one; counts what it is asked."""

    calls: int = 0
    of: Callable[[Instruction, str], float] = field(
        default=lambda instruction, answer: 10.0 if is_right(instruction, answer) else 1.0
    )

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        self.calls += len(completions)
        return np.array([self.of(*row) for row in zip(instructions, completions, strict=True)])


def fit(learner: ISheep, base: PolicyRef, work: Path, reward: Assessor | None = None) -> PolicyRef:
    inputs = Inputs(instructions=asked(40, seed=1), reward=reward or Assessor())
    return learner.fit(base, inputs, toy.context(work))


def accuracy(policy: PolicyRef) -> float:
    rows = asked(150, seed=2)
    drawn = FarmSampler(policy, 256, LIMITS["max_prompt_tokens"], "cpu").sample(rows, n=1, seed=0)
    return float(np.mean([is_right(i, c.text) for i, c in zip(rows, drawn, strict=True)]))


def kept(work: Path, number: int) -> list[Candidate]:
    return [c for c in read_candidates(work / f"candidates-{number}.json") if c.kept]


@pytest.fixture(scope="module")
def learned(base: PolicyRef, tmp_path_factory: pytest.TempPathFactory) -> tuple[PolicyRef, Path]:
    work = tmp_path_factory.mktemp("learned")
    return fit(ISheep(**KEYS), base, work), work


@pytest.mark.slow
def test_it_learns_from_what_it_finds_good(
    learned: tuple[PolicyRef, Path], base: PolicyRef, tmp_path: Path
) -> None:
    policy, _ = learned
    others = fit(ISheep(**{**KEYS, "selection": RandomOfEqualSize()}), base, tmp_path)
    before, after, control = accuracy(base), accuracy(policy), accuracy(others)
    assert before < 0.65
    assert after > before + 0.2
    assert control < after - 0.15


def test_the_policy_writes_the_tasks_and_what_became_of_each_is_kept(
    learned: tuple[PolicyRef, Path],
) -> None:
    _, work = learned
    candidates = read_candidates(work / "candidates-1.json")
    counts = outcomes(candidates)
    assert counts["written"] == len(candidates) == KEYS["tasks"]
    assert sum(counts.values()) == 2 * counts["written"]
    chosen = kept(work, 1)
    assert all(is_right(c.demonstration, c.answer or "") and c.score == 10 for c in chosen)
    assert all(c.answer is None for c in candidates if c.dropped_by == "repeated")
    texts = [c.demonstration.id for c in chosen]
    assert len(set(texts)) == len(texts) > 10
    lines = toy.metrics(work)
    assert [line["step"] for line in lines] == list(range(1, 51))
    assert lines[-1]["kept_share"] == len(kept(work, 2)) / KEYS["tasks"]
    assert lines[0]["prompts"] < lines[-1]["prompts"] <= 2 * KEYS["tasks"]
    assert 0 < lines[0]["distinct_2"] <= 1


def test_the_base_learns_the_newest_rows_alone(
    learned: tuple[PolicyRef, Path], base: PolicyRef, tmp_path: Path
) -> None:
    """The second round's policy is SFT of the base, to the last bit."""
    policy, work = learned
    rows = [candidate.demonstration for candidate in kept(work, 2)]
    context = toy.context(tmp_path)
    part = link(context, "again", derive(context.seed, "round", 1), before=25, total=50)
    again = SFT(**SHORT).fit(base, Inputs(demonstrations=rows), part)
    assert toy.same_weights(policy.path, again.path)


def test_who_learns_what(base: PolicyRef) -> None:
    first, second = asked(2, seed=3), asked(3, seed=4)
    latest = replace(base, path="latest")
    lessons = [way.lesson(base, latest, [first, second]) for way in (FromBase(), Continued())]
    assert [(lesson.start, lesson.rows) for lesson in lessons] == [(base, second), (latest, second)]
    assert Cumulative().lesson(base, latest, [first, second]) == (base, [*first, *second])


def test_an_interrupted_run_asks_for_nothing_twice(
    learned: tuple[PolicyRef, Path], base: PolicyRef, tmp_path: Path
) -> None:
    policy, whole = learned
    context, reward = toy.context(tmp_path), Assessor()
    inputs = Inputs(instructions=asked(40, seed=1), reward=reward)
    learner = ISheep(**KEYS, resume_every=10)

    def report(at: int, total: int, metrics: Mapping[str, float]) -> None:
        if at == 40 and metrics:
            context.on_progress = None
            raise toy.Interrupted

    context.on_progress = report
    with pytest.raises(toy.Interrupted):
        learner.fit(base, inputs, context)
    assert (tmp_path / "candidates-2.json").exists()
    before = reward.calls
    assert toy.same_weights(learner.fit(base, inputs, context).path, policy.path)
    assert reward.calls == before
    assert toy.metrics(tmp_path) == toy.metrics(whole)


def test_nothing_kept_is_said_with_counts(base: PolicyRef, tmp_path: Path) -> None:
    nobody = Assessor(of=lambda instruction, answer: np.nan)
    with pytest.raises(DataError, match=r"none of its first round's tasks \(120 written.*no_score"):
        fit(ISheep(**KEYS), base, tmp_path, nobody)
    with pytest.raises(DataError, match="needs 50 seed tasks, and the split `unlabeled` has 40"):
        fit(ISheep(**{**KEYS, "seed_tasks": 50}), base, tmp_path / "few")


def test_a_later_round_that_starves_ends_the_learning(base: PolicyRef, tmp_path: Path) -> None:
    reward = Assessor(of=lambda instruction, answer: 9.0 if reward.calls <= 120 else 1.0)
    policy = fit(ISheep(**{**KEYS, "max_steps": 2}), base, tmp_path, reward)
    assert policy.path == str(tmp_path / "round-1" / "policy")
    (note,) = read_notes(tmp_path)
    assert note.startswith("I-SHEEP ended after round 1: the next one kept nothing (120 written")


def test_the_control_keeps_as_many_of_all() -> None:
    scores_N = np.array([9, 2, np.nan, 8, 7.9, 10, 1, np.nan])
    assert AtLeast(threshold=8).kept(scores_N, seed=0).tolist() == [
        True, False, False, True, False, True, False, False,
    ]  # fmt: skip
    draws = [RandomOfEqualSize(threshold=8).kept(scores_N, seed=seed) for seed in range(40)]
    assert {int(draw.sum()) for draw in draws} == {3}
    assert np.sum(draws, axis=0).min() > 5


@pytest.mark.parametrize(
    "change", [{"rounds": 0}, {"tasks": 0}, {"seed_tasks": 1, "examples": 2}, {"temperature": -1}]
)
def test_mistakes_are_named(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        ISheep(**{**KEYS, **change})
