"""A tiny policy and a toy world for tests of learners: say the first word, or the last."""

from pathlib import Path

from farm.context import Context
from farm.data.records import make_pair, user_instruction
from farm.models.fresh import FreshLlama
from farm.models.tokenizers import WordLevel
from farm.seeds import generator
from farm.training.tuning import Full
from farm.types import Decoding, Instruction, Judgment, LabeledPair, PolicyRef

WORDS = ("barn", "cart", "duck", "goat", "hay", "oats", "pond", "sheep")
LIMITS = {"max_prompt_tokens": 12, "max_new_tokens": 6}


def instructions(n: int, seed: int = 0) -> list[Instruction]:
    """Two to five words, to be repeated; repeats of an instruction are possible."""
    rng = generator(seed, "toy")
    texts = [" ".join(rng.choice(WORDS, rng.integers(2, 6))) for _ in range(n)]
    return [user_instruction(text, demonstration=text) for text in texts]


def starting_policy(folder: Path, seed: int = 0) -> PolicyRef:
    """A fresh Llama of 9 k parameters that knows the toy world's words."""
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
    """Clean labels: the copy is better than its reverse, on either side."""
    labels = []
    for number, instruction in enumerate(asked):
        copy = instruction.demonstration or ""
        other = " ".join(reversed(copy.split()))
        if copy == other:
            continue
        answers = (copy, other) if number % 2 else (other, copy)
        pair = make_pair(instruction, *answers)
        labels.append(LabeledPair(pair, Judgment(pair.id, float(number % 2 == 0), "toy", "ab")))
    return labels


def context(work: Path, seed: int = 0) -> Context:
    """A context that trains everything on the CPU."""
    work.mkdir(parents=True, exist_ok=True)
    return Context(seed=seed, work=work, tuning=Full())
