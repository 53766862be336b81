"""SFT learns to repeat words, on answer tokens only, the same way every time."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import toy_policy as toy

from farm.errors import ConfigError, DataError
from farm.types import Inputs, PolicyRef
from methods.sft import SFT

STEPS = 250


def learner(**changes: object) -> SFT:
    short = {"learning_rate": 1e-2, "batch_size": 32, "epochs": None, "max_steps": STEPS}
    return SFT(**{**toy.LIMITS, **short, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> PolicyRef:
    return toy.starting_policy(tmp_path_factory.mktemp("start") / "model")


def answer_nats(path: str, answer: str, prompt: str) -> float:
    """-log pi(answer, end | prompt)."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path)
    with torch.no_grad():
        return -float(toy.answer_logprob(model, tokenizer, prompt, answer))


def test_it_learns_to_repeat(start: PolicyRef, tmp_path: Path) -> None:
    inputs = Inputs(demonstrations=toy.instructions(1000))
    policy = learner().fit(start, inputs, toy.context(tmp_path))
    assert policy.decoding == start.decoding
    for text in ("goat goat hay", "pond cart", "oats barn sheep"):
        assert answer_nats(start.path, text, text) > 5
        assert answer_nats(policy.path, text, text) < 0.5


def test_loss_is_on_answers_alone(start: PolicyRef, tmp_path: Path) -> None:
    """The first logged loss is the start policy's mean over the batch's answer tokens."""
    asked = toy.instructions(16)
    learner(max_steps=1, batch_size=16).fit(
        start, Inputs(demonstrations=asked), toy.context(tmp_path)
    )
    texts = [instruction.demonstration or "" for instruction in asked]
    nats = sum(answer_nats(start.path, text, text) for text in texts)
    tokens = sum(len(text.split()) + 1 for text in texts)
    assert toy.metrics(tmp_path)[0]["loss"] == pytest.approx(nats / tokens, rel=1e-4)


def test_one_example_is_shown(start: PolicyRef, tmp_path: Path) -> None:
    asked = toy.instructions(4)
    learner(max_steps=1, batch_size=4).fit(
        start, Inputs(demonstrations=asked), toy.context(tmp_path)
    )
    shown = (tmp_path / "example.txt").read_text()
    assert (asked[0].demonstration or "?") in shown.partition("learned")[2]
    assert "<end>" in shown.partition("learned")[2]


def test_trainers_share_a_process(
    start: PolicyRef, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SFT, reward model, DPO and SFT again, in a thread as in an actor: the two SFT runs are
    equal, nothing is printed, and no files stay but the results."""
    from methods.dpo import DPO
    from methods.reward.bradley_terry import BradleyTerry

    inputs = Inputs(
        demonstrations=toy.instructions(64), judgments=toy.labelled(toy.instructions(64))
    )
    short = {**toy.LIMITS, "max_steps": 5, "epochs": None, "batch_size": 16}

    def run() -> None:
        learner(max_steps=20).fit(start, inputs, toy.context(tmp_path / "first"))
        BradleyTerry(**short).fit(start, inputs.judgments or (), toy.context(tmp_path / "reward"))
        DPO(**short).fit(start, inputs, toy.context(tmp_path / "dpo"))
        learner(max_steps=20).fit(start, inputs, toy.context(tmp_path / "second"))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert toy.same_weights(tmp_path / "first/policy", tmp_path / "second/policy")
    assert toy.metrics(tmp_path / "first") == toy.metrics(tmp_path / "second")
    assert capsys.readouterr().out == ""
    left = {path.name for path in (tmp_path / "dpo").iterdir()}
    assert left == {"labels.json", "metrics.jsonl", "policy"}


def test_it_continues_after_a_kill(start: PolicyRef, tmp_path: Path) -> None:
    inputs = Inputs(demonstrations=toy.instructions(64))
    published: list[int] = []
    whole, broken = toy.context(tmp_path / "whole"), toy.context(tmp_path / "broken")
    whole.on_checkpoint = lambda step, save: published.append(step)
    method = learner(max_steps=20, checkpoint_every=8, resume_every=6)
    method.fit(start, inputs, whole)
    toy.interrupt_at(broken, 15)
    with pytest.raises(toy.Interrupted):
        method.fit(start, inputs, broken)
    resumed_from = sorted((tmp_path / "broken/resume").glob("*/complete"))
    assert [path.parent.name for path in resumed_from] == ["checkpoint-12", "checkpoint-6"]
    method.fit(start, inputs, broken)
    assert published == [8, 16, 20]
    assert toy.same_weights(tmp_path / "whole/policy", tmp_path / "broken/policy")
    assert toy.metrics(tmp_path / "whole") == toy.metrics(tmp_path / "broken")


def test_a_kill_after_the_last_step_repeats_none(
    start: PolicyRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from farm.training import trainer

    def killed(*_: object) -> None:
        raise toy.Interrupted

    inputs = Inputs(demonstrations=toy.instructions(64))
    learner(max_steps=6).fit(start, inputs, toy.context(tmp_path / "whole"))
    context = toy.context(tmp_path / "broken")
    with monkeypatch.context() as patch, pytest.raises(toy.Interrupted):
        patch.setattr(trainer, "publish", killed)
        learner(max_steps=6).fit(start, inputs, context)
    context.on_progress = killed  # no step is logged again
    learner(max_steps=6).fit(start, inputs, context)
    assert toy.same_weights(tmp_path / "whole/policy", tmp_path / "broken/policy")
    assert toy.metrics(tmp_path / "whole") == toy.metrics(tmp_path / "broken")


def test_a_half_written_state_is_ignored(start: PolicyRef, tmp_path: Path) -> None:
    (tmp_path / "resume/checkpoint-3").mkdir(parents=True)
    inputs = Inputs(demonstrations=toy.instructions(16))
    learner(max_steps=4).fit(start, inputs, toy.context(tmp_path))
    assert [line["step"] for line in toy.metrics(tmp_path)] == [1, 2, 3, 4]


def test_seeds_differ(start: PolicyRef, tmp_path: Path) -> None:
    inputs = Inputs(demonstrations=toy.instructions(64))
    for seed in (0, 1):
        context = toy.context(tmp_path / str(seed), seed)
        learner(max_steps=4).fit(start, inputs, context)
    assert not toy.same_weights(tmp_path / "0/policy", tmp_path / "1/policy")


def test_trl_still_has_what_we_override() -> None:
    from trl import DPOTrainer, RewardTrainer, SFTTrainer

    from farm.training.trainer import TokenIdTrainer

    ours = [name for name in vars(TokenIdTrainer) if callable(getattr(TokenIdTrainer, name))]
    for trainer in (SFTTrainer, RewardTrainer, DPOTrainer):
        assert all(hasattr(trainer, name) for name in ours)
    assert hasattr(DPOTrainer, "_precompute_ref_logps")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning_rate", 0.0),
        ("epochs", 1.0),  # beside max_steps
        ("max_steps", None),
        ("batch_size", 0),
        ("warmup_ratio", 1.0),
        ("checkpoint_every", 0),
        ("max_prompt_tokens", 0),
    ],
)
def test_wrong_values_name_their_key(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=key if key != "max_steps" else "epochs"):
        learner(**{key: value})


def test_no_demonstrations(start: PolicyRef, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="demonstration"):
        learner().fit(start, Inputs(demonstrations=[]), toy.context(tmp_path))


def test_only_demonstrations_of_its_categories_are_learned(
    start: PolicyRef, tmp_path: Path
) -> None:
    rows = [
        replace(row, category=("short" if len(row.messages[0].content.split()) == 2 else "long"))
        for row in toy.instructions(32)
    ]
    short = [row for row in rows if row.category == "short"]
    assert 0 < len(short) < len(rows)
    keys = {"epochs": None, "max_steps": 2, "batch_size": 4}
    some = learner(**keys, categories=["short"])
    one = some.fit(start, Inputs(demonstrations=rows), toy.context(tmp_path / "some"))
    two = learner(**keys).fit(start, Inputs(demonstrations=short), toy.context(tmp_path / "all"))
    assert toy.same_weights(one.path, two.path)
    with pytest.raises(DataError, match=r"categories tall .* There are long, short"):
        learner(categories=["tall"]).fit(
            start, Inputs(demonstrations=rows), toy.context(tmp_path / "none")
        )
