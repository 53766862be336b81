"""Tables that GitHub renders."""

import re
from collections.abc import Iterable, Sequence

from farm.reporting.views import Cell


def markdown_table(
    names: Sequence[str],
    figures: Sequence[str],
    rows: Iterable[tuple[Sequence[str], Sequence[Cell]]],
) -> str:
    """Columns of text, which is shown as it stands, then of figures with their intervals in
    brackets; headings are Markdown."""
    rule = ["---"] * len(names) + ["---:"] * len(figures)
    lines = [[*names, *figures], rule]
    lines += [[*map(literal, texts), *map(_joined, cells)] for texts, cells in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _joined(cell: Cell) -> str:
    return f"{cell.value} [{cell.interval}]" if cell.interval else cell.value


def literal(text: str) -> str:
    """Text that Markdown shows as it stands, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>|~#&!])", r"\\\1", " ".join(text.split()))
