"""Stage `instructions`: a source's splits as parquet, one file each."""

from pathlib import Path
from typing import Any

from farm.config import build
from farm.data.records import read_instructions, write_instructions
from farm.stages.job import Job
from farm.types import SPLITS, Instruction, SplitName

STAGE_VERSION = 1  # see farm.builder.Step

TRAINING_SPLITS: tuple[SplitName, ...] = ("sft", "preference", "unlabeled")


def run(job: Job) -> dict[str, Any]:
    """Load the source; the results count its rows per split and hold what it notes."""
    source = build(job.config["data"])
    splits = source.load()
    for name in SPLITS:
        write_instructions(splits[name], job.work / f"{name}.parquet")
    return {
        "rows": {name: len(splits[name]) for name in SPLITS},
        "notes": list(getattr(source, "notes", ())),
    }


def load_split(folder: Path, split: SplitName, limit: int | None = None) -> list[Instruction]:
    """One split of the artefact, or its first `limit` instructions."""
    return read_instructions(folder / f"{split}.parquet")[:limit]
