"""ORPO, SimPO and KTO move probability to the preferred answers."""

from pathlib import Path

import numpy as np
import pytest
import torch
import toy_policy as toy

from farm.errors import ConfigError
from farm.types import Inputs, PolicyRef
from methods.kto import KTO
from methods.orpo import ORPO
from methods.pair_learner import PairLearner
from methods.simpo import SimPO

SHORT = {**toy.LIMITS, "learning_rate": 1e-2, "batch_size": 32, "epochs": 5.0}
LEARNERS: dict[str, PairLearner] = {
    "orpo": ORPO(**SHORT, beta=1.0),
    "simpo": SimPO(**SHORT),
    "kto": KTO(**SHORT),
}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> PolicyRef:
    return toy.starting_policy(tmp_path_factory.mktemp("start") / "model")


@pytest.mark.parametrize("name", LEARNERS)
def test_it_raises_the_preferred_answers(name: str, start: PolicyRef, tmp_path: Path) -> None:
    inputs = Inputs(judgments=toy.labelled(toy.instructions(600)))
    policy = LEARNERS[name].fit(start, inputs, toy.context(tmp_path))
    unseen = toy.labelled(toy.instructions(60, seed=1))
    before, after = toy.log_odds(start.path, unseen), toy.log_odds(policy.path, unseen)
    assert np.mean(np.array(after) > 0) > 0.85 > 0.7 > np.mean(np.array(before) > 0)
    assert np.mean(after) - np.mean(before) > 2


class TestKTO:
    def test_its_reference_point_is_that_of_the_whole_batch(
        self, start: PolicyRef, tmp_path: Path
    ) -> None:
        """However few tokens go into one forward pass."""
        inputs = Inputs(judgments=toy.labelled(toy.instructions(40)))
        for tokens in (8192, 60):
            learner = KTO(**{**SHORT, "epochs": 6.0}, tokens_per_batch=tokens)
            learner.fit(start, inputs, toy.context(tmp_path / str(tokens)))
        whole, parts = toy.metrics(tmp_path / "8192"), toy.metrics(tmp_path / "60")
        for name in ("loss", "z0", "margin"):
            found = [line[name] for line in parts]
            assert found == pytest.approx([line[name] for line in whole], abs=1e-4)
        assert whole[0]["loss"] == pytest.approx(0.5, abs=1e-6)
        assert whole[0]["z0"] == pytest.approx(0.0, abs=1e-6)

    def test_its_reference_point_is_the_divergence_on_other_prompts(
        self, start: PolicyRef, tmp_path: Path
    ) -> None:
        """With one pair there is no other prompt: z0 is the mean log-ratio of its own answers."""
        labels = toy.labelled(toy.instructions(8))[:1]
        kept: list[str] = []

        def keep(step: int, save: object) -> None:
            save(tmp_path / f"step{step}")  # type: ignore[operator]
            kept.append(str(tmp_path / f"step{step}"))

        context = toy.context(tmp_path / "work")
        context.on_checkpoint = keep
        few = {**SHORT, "epochs": None, "max_steps": 4, "batch_size": 1, "checkpoint_every": 1}
        rising = KTO(**few, lambda_undesirable=0.01)
        rising.fit(start, Inputs(judgments=labels), context)
        before = both_logprobs(start.path, labels)
        found = [float((both_logprobs(path, labels) - before).mean()) for path in kept[:-1]]
        assert found[-1] > 0.1
        logged = [line["z0"] for line in toy.metrics(tmp_path / "work")[1:]]
        assert logged == pytest.approx([max(0.0, z0) for z0 in found], abs=1e-4)

    def test_it_continues_after_a_kill(self, start: PolicyRef, tmp_path: Path) -> None:
        inputs = Inputs(judgments=toy.labelled(toy.instructions(64)))
        whole, broken = toy.context(tmp_path / "whole"), toy.context(tmp_path / "broken")
        method = KTO(**{**SHORT, "max_steps": 9, "epochs": None}, resume_every=4)
        method.fit(start, inputs, whole)
        toy.interrupt_at(broken, 7)
        with pytest.raises(toy.Interrupted):
            method.fit(start, inputs, broken)
        method.fit(start, inputs, broken)
        assert toy.same_weights(tmp_path / "whole/policy", tmp_path / "broken/policy")
        assert toy.metrics(tmp_path / "whole") == toy.metrics(tmp_path / "broken")


def both_logprobs(path: str, labels: list[toy.LabeledPair]) -> torch.Tensor:
    """log pi of all answers, by plain forward passes."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path)
    with torch.no_grad():
        return torch.stack([
            toy.answer_logprob(model, tokenizer, pair.instruction.messages[0].content, answer)
            for pair, _ in labels
            for answer in (pair.output_a, pair.output_b)
        ])  # fmt: skip


@pytest.mark.parametrize(
    ("method", "key", "value"),
    [
        (ORPO, "beta", 0.0),
        (SimPO, "beta", 0.0),
        (SimPO, "gamma", -0.1),
        (KTO, "beta", 0.0),
        (KTO, "lambda_desirable", 0.0),
        (KTO, "lambda_undesirable", -1.0),
    ],
)
def test_wrong_values_name_their_key(method: type[PairLearner], key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=key):
        method(**toy.LIMITS, **{key: value})
