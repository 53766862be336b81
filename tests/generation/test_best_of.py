"""Best-of-n: nested samples, the scorer's choice, and a pointer that survives a move."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import toy_policy as toy

from farm.generation.best_of import BestOfSampler, sampler_of
from farm.protocols import FloatArray
from farm.scorers.stored import StoredScorer, write_scorer
from farm.stages.pointers import point_to_policy, policy_ref
from farm.types import BestOf, Completion, Decoding, Instruction, PolicyRef

ASKED = toy.instructions(6)
SAMPLER = {
    "_target_": "farm.generation.sampler.FarmSampler",
    "_partial_": True,
    "batch_size": 8,
    "max_prompt_tokens": toy.LIMITS["max_prompt_tokens"],
    "device": "cpu",
}
DECODING = {"temperature": 0.0, "max_new_tokens": toy.LIMITS["max_new_tokens"]}


class Numbered:
    """Answers with their own numbers."""

    def sample(self, instructions: Sequence[Instruction], *, n: int, seed: int) -> list[Completion]:
        return [Completion(i.id, str(k), "x", k, True) for i in instructions for k in range(n)]


class Score:
    """Scores by a table of texts."""

    def __init__(self, scores: dict[str, float]) -> None:
        self._scores = scores

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        return np.array([self._scores[text] for text in completions])


def test_it_keeps_the_highest_score_of_each_group() -> None:
    scorer = Score({"0": 1.0, "1": 3.0, "2": 3.0, "3": np.nan, "4": np.nan, "5": -9.0})
    chosen = BestOfSampler(Numbered(), BestOf(3, 1.0, scorer)).sample(ASKED, n=2, seed=0)
    assert [c.text for c in chosen] == ["1", "5"] * len(ASKED)  # the first of equals; NaN is last
    assert [c.sample for c in chosen] == [0, 1] * len(ASKED)
    assert [c.instruction_id for c in chosen] == [i.id for i in ASKED for _ in range(2)]


def test_a_larger_n_chooses_among_the_same_answers_and_more(tmp_path: Path) -> None:
    start = toy.starting_policy(tmp_path / "policy", seed=0)
    longest = _Longest()
    policy = PolicyRef(start.path, Decoding(**DECODING))
    lengths = []
    for n in (1, 2, 4, 8):
        best_of = BestOf(n, 1.0, longest)
        asked = PolicyRef(policy.path, policy.decoding, best_of)
        answers = sampler_of(SAMPLER, asked).sample(ASKED, n=1, seed=5)
        lengths.append([len(answer.text) for answer in answers])
    assert (np.diff(lengths, axis=0) >= 0).all()
    assert (np.array(lengths[-1]) > lengths[0]).any()


class _Longest:
    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        return np.array([float(len(text)) for text in completions])


def test_a_pointer_finds_policy_and_scorer_where_the_store_moves(tmp_path: Path) -> None:
    reward = tmp_path / "store" / "reward" / "key"
    learned = tmp_path / "store" / "policy" / "key"
    for folder in (reward, learned):
        folder.mkdir(parents=True)
    config = {
        "_target_": "farm.scorers.callable.CallableScorer",
        "function": "jobs_for_tests:digits",
    }
    write_scorer(config, reward)
    point_to_policy(learned, "some/model", BestOf(4, 0.7, StoredScorer(str(reward))))
    shutil.move(tmp_path / "store", tmp_path / "moved")
    found = policy_ref(tmp_path / "moved" / "policy" / "key", DECODING)
    assert found.path == "some/model"
    assert found.best_of is not None
    assert (found.best_of.n, found.best_of.temperature) == (4, 0.7)
    assert found.best_of.scorer.score(ASKED[:2], ["a1b22", "none"]).tolist() == [3.0, 0.0]
