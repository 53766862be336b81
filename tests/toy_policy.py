"""A tiny policy and a toy world for tests of learners: repeat two or three words."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.context import Context
from farm.data.records import make_pair, user_instruction
from farm.models.fresh import FreshLlama
from farm.models.tokenizers import WordLevel
from farm.seeds import generator
from farm.training.tuning import Full
from farm.types import Decoding, Instruction, Judgment, LabeledPair, PolicyRef

if TYPE_CHECKING:
    import torch

WORDS = ("barn", "cart", "duck", "goat", "hay", "oats", "pond", "sheep")
LIMITS = {"max_prompt_tokens": 12, "max_new_tokens": 6}


def instructions(n: int, seed: int = 0) -> list[Instruction]:
    """Two or three words, demonstrated by repeating them; an instruction can occur twice."""
    rng = generator(seed, "toy")
    texts = [" ".join(rng.choice(WORDS, rng.integers(2, 4))) for _ in range(n)]
    return [user_instruction(text, demonstration=text) for text in texts]


def starting_policy(folder: Path, seed: int = 0) -> PolicyRef:
    """A fresh Llama that knows the toy world's words."""
    source = FreshLlama(
        tokenizer=WordLevel(),
        hidden_size=32,
        layers=2,
        heads=2,
        intermediate_size=64,
        tie_embeddings=False,
        **LIMITS,
    )
    path = source.build(instructions(64), folder, seed=seed)
    return PolicyRef(path, Decoding(temperature=1.0, max_new_tokens=LIMITS["max_new_tokens"]))


def labelled(asked: list[Instruction]) -> list[LabeledPair]:
    """Clean labels: the repetition is better than the reversed words, on either side."""
    labels = []
    for number, instruction in enumerate(asked):
        good = instruction.demonstration or ""
        bad = " ".join(reversed(good.split()))
        if good != bad:
            answers = (good, bad) if number % 2 else (bad, good)
            labels.append(label(instruction, *answers, preference=float(number % 2 == 0)))
    return labels


def label(
    instruction: Instruction, output_a: str, output_b: str, *, preference: float | None
) -> LabeledPair:
    """One labelled pair."""
    pair = make_pair(instruction, output_a, output_b)
    return LabeledPair(pair, Judgment(pair.id, preference, "toy", "ab"))


def answer_logprob(model: Any, tokenizer: Any, prompt: str, answer: str) -> "torch.Tensor":
    """log pi(answer, end | prompt) by a plain forward pass over one unpadded row."""
    ids = tokenizer(f"<user>{prompt}<end><assistant>{answer}<end>", return_tensors="pt")
    tokens = len(answer.split()) + 1
    logprobs = model(ids["input_ids"]).logits[0, :-1].log_softmax(-1)
    chosen: torch.Tensor = logprobs.gather(1, ids["input_ids"][0, 1:, None])[-tokens:].sum()
    return chosen


def log_odds(path: str, labels: list[LabeledPair]) -> list[float]:
    """log pi(preferred) - log pi(other) of each pair."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path)
    odds = []
    for pair, judgment in labels:
        prompt = pair.instruction.messages[0].content
        with torch.no_grad():
            a, b = (
                float(answer_logprob(model, tokenizer, prompt, answer))
                for answer in (pair.output_a, pair.output_b)
            )
        odds.append(b - a if judgment.preference == 1 else a - b)
    return odds


def context(work: Path, seed: int = 0) -> Context:
    """A context that trains everything on the CPU."""
    work.mkdir(parents=True, exist_ok=True)
    return Context(seed=seed, work=work, tuning=Full())


def weights(path: str | Path) -> dict[str, "torch.Tensor"]:
    """All tensors of a saved model."""
    from safetensors.torch import load_file

    return load_file(Path(path) / "model.safetensors")


def same_weights(left: str | Path, right: str | Path) -> bool:
    """Whether two saved models are equal to the last bit."""
    one, other = weights(left), weights(right)
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


def metrics(work: Path) -> list[dict[str, float]]:
    """The lines of `metrics.jsonl` without their times."""
    lines = (work / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "time_s"} for line in lines]


class Interrupted(Exception):
    """Stands for a kill."""


def interrupt_at(context: Context, step: int) -> None:
    """Let the context raise when `step` is logged, once."""

    def report(at: int, total: int, metrics: Mapping[str, float]) -> None:
        if at == step:
            context.on_progress = None
            raise Interrupted

    context.on_progress = report
