"""The only source of randomness.

Every random draw is a function of (run seed, stage, item), so neither order nor batch size nor
the number of processes changes a result.
"""

import hashlib

import numpy as np

Item = str | int


def derive(run_seed: int, stage: str, *items: Item) -> int:
    """A 63-bit seed for one item of one stage of a run."""
    text = "\x1f".join([str(run_seed), stage, *(f"{type(i).__name__}:{i}" for i in items)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def redraw(seed: int, draw: int) -> int:
    """The seed of a repeated sample; that of draw 0 is the seed itself."""
    return derive(seed, "draw", draw) if draw else seed


def generator(run_seed: int, stage: str, *items: Item) -> np.random.Generator:
    """A numpy generator seeded by `derive`."""
    return np.random.default_rng(derive(run_seed, stage, *items))


def uniform(run_seed: int, stage: str, *items: Item) -> float:
    """One uniform number in [0, 1)."""
    return (derive(run_seed, stage, *items) >> 10) / 2**53


def seed_libraries(run_seed: int, stage: str, *items: Item) -> None:
    """Seed torch's and transformers' global generators, for library code that draws from them."""
    from transformers import set_seed

    set_seed(derive(run_seed, stage, *items) % 2**32)
