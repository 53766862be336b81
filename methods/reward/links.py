"""Reward learners that are made of others."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from farm.context import Context, read_notes
from farm.seeds import derive


@contextmanager
def link(context: Context, name: str) -> Iterator[Context]:
    """The context of a part: with a seed and a sub-folder of its own, so that it is continued by
    itself. What it notes is noted of the whole, under its name."""
    work = context.work / name
    work.mkdir(exist_ok=True)
    yield replace(context, seed=derive(context.seed, "link", name), work=work)
    for text in read_notes(work):
        context.note(f"{name}: {text}")
