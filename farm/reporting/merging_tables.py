"""A merging study's tables in the terminal."""

from collections.abc import Iterator, Mapping

import pandas as pd
from rich.console import Console

from farm.reporting.study_layouts import Layout, side_by_side
from farm.reporting.study_sections import print_layout
from farm.reporting.views import Column


def print_merging(tables: Mapping[str, pd.DataFrame], console: Console) -> None:
    """Performances, gains, and how alike the merged policies' tensors are."""
    for layout in layouts(tables):
        print_layout(layout, console)


def layouts(tables: Mapping[str, pd.DataFrame]) -> Iterator[Layout]:
    """What a reader sees of `farm.studies.merging_tables`."""
    performance, gains, parallel = (tables[name] for name in ("performance", "gains", "parallel"))
    yield Layout(
        "Performance by domain",
        "Mean scores in percent; `both` is the mean of the two domains.",
        {"policy": "Policy", "role": ""},
        [Column(domain, "%", f"{domain} score", 1) for domain in performance["domain"].unique()],
        side_by_side(performance, ["policy", "role"], "domain", ["score"]),
    )
    yield Layout(
        "Gains of merges",
        "Points over what is expected, the parents' mean, and over the better parent; p-values are "
        "of the latter, after Holm.",
        {"policy": "Merge", "domain": "Domain"},
        [
            Column("Expected", "%", "expected", 1),
            Column("Diversity", "points", "diversity", 1),
            Column("Over expected", "points", "over_expected", 1),
            Column("Over best", "points", "over_best", 1),
            Column("p", "Holm", "adjusted", 3),
        ],
        gains,
    )
    yield Layout(
        "Tensors",
        "Of two or more dimensions, against those of the first policy that is merged.",
        {"policy": "Merge"},
        [
            Column("Nearly parallel", "share", "nearly_parallel", 2),
            Column("cos", "mean", "cosine", 4),
            Column("Distance", "of the norm", "distance", 3),
        ],
        parallel,
    )
