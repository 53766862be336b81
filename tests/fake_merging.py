"""Figures of a merging study that nobody ran: two parents, merges of known gains."""

from pathlib import Path

import pandas as pd

from farm.seeds import generator
from farm.studies.merging_job import Measured
from farm.studies.merging_tables import merging_tables

DOMAINS = ("order", "meaning")
POLICIES = {
    "start": ("start", 40.0, 40.0),
    "order": ("parent", 90.0, 20.0),
    "meaning": ("parent", 30.0, 80.0),
    "good": ("merge", 95.0, 85.0),
    "mean": ("merge", 60.0, 50.0),
}
"""Role, and mean score in each domain."""


def measured(seeds: tuple[int, ...] = (1, 2, 3, 4, 5)) -> Measured:
    """Every seed moves a policy's scores a little."""
    rows, likeness = [], []
    for seed in seeds:
        for policy, (role, *scores) in POLICIES.items():
            noise = generator(seed, "fake", policy).normal(size=2)
            for domain, score, moved in zip(DOMAINS, scores, noise, strict=True):
                of = {"seed": seed, "role": role, "policy": policy, "domain": domain}
                rows.append({**of, "score": score + moved, "instructions": 100})
            if role == "merge":
                alike = {"nearly_parallel": 0.5, "cosine": 0.99, "distance": 0.1 + seed / 100}
                likeness.append({"seed": seed, "policy": policy, **alike})
    return Measured(pd.DataFrame(rows), pd.DataFrame(likeness))


def write_merging(folder: Path) -> None:
    """The tables of a finished study."""
    folder.mkdir(parents=True)
    found = measured()
    for name, frame in {**vars(found), **merging_tables(found, DOMAINS)}.items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)
