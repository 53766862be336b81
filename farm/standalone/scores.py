"""From judged sides to a leaderboard, items and annotations."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from farm.artifacts import Artifact
from farm.data.annotations import annotation_row
from farm.data.records import last_user_text, read_judgments
from farm.reporting.leaderboard import Answer, Leaderboard, Sample
from farm.seeds import generator
from farm.stages.evaluation import load_items, reference_pairs
from farm.stages.outputs import first_texts
from farm.types import Instruction

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, float | int | str | bool | None]

_UNIDENTIFIED = (
    "length and quality cannot be told apart in its verdicts, so that its length-controlled win "
    "rate has no interval."
)


@dataclass(frozen=True)
class Judged:
    """What came of a contest. Texts and judgments are in the order of the instructions."""

    instructions: Sequence[Instruction]
    reference: str
    reference_outputs: Artifact
    evaluations: Mapping[str, Artifact]
    """By the names of the sides."""

    @property
    def reference_texts(self) -> list[str]:
        """What the reference answers."""
        return first_texts(self.reference_outputs.path, self.instructions)

    def items(self) -> "pd.DataFrame":
        """One row for each side and instruction: `name`, the columns of an evaluation's items
        that apply, and the texts."""
        import pandas as pd

        asked = [last_user_text(instruction) for instruction in self.instructions]
        references = self.reference_texts
        frames = [
            load_items(evaluation.path)
            .drop(columns=["held_out", "proxy", "proxy_reference", "kl"])
            .assign(name=name, instruction=asked, output_reference=references)
            for name, evaluation in self.evaluations.items()
        ]
        items: pd.DataFrame = pd.concat(frames, ignore_index=True)
        return items

    def annotations(self) -> Iterator[dict[str, Any]]:
        """AlpacaEval's annotation rows of all sides."""
        for name, evaluation in self.evaluations.items():
            outputs = load_items(evaluation.path)["output"].tolist()
            pairs = reference_pairs(self.instructions, self.reference_texts, outputs)
            judgments = read_judgments(evaluation.path / "judgments clean.parquet")
            for pair, judgment in zip(pairs, judgments, strict=True):
                row = annotation_row(pair, judgment)
                yield {**row, "generator_1": self.reference, "generator_2": name}


def leaderboard_row(items: "pd.DataFrame", *, cost_usd: float | None, seed: int) -> Row:
    """The figures of one side, from its items; rates in percent against the reference, lengths in
    characters, gold columns null where gold is not known."""
    from farm.evaluation import length_controlled_win_rate, win_rate
    from farm.evaluation.rates import gold_win_rate

    judged = win_rate(items["preference"].to_numpy(np.float64), seed=seed)
    gold = gold_win_rate(
        items["gold"].to_numpy(np.float64), items["gold_reference"].to_numpy(np.float64), seed=seed
    )
    lengths = {"length": "length_model", "length_reference": "length_baseline"}
    controlled = length_controlled_win_rate(items.rename(columns=lengths))
    return {
        "win_rate": judged.value,
        "win_rate_low": judged.low,
        "win_rate_high": judged.high,
        "standard_error": judged.standard_error,
        "length_controlled_win_rate": controlled.value,
        "length_controlled_win_rate_low": controlled.low,
        "length_controlled_win_rate_high": controlled.high,
        "length_controlled_variant": controlled.variant,
        "length_controlled_identified": controlled.identified,
        "discrete_win_rate": judged.discrete,
        "gold_win_rate": gold.value,
        "gold_win_rate_low": gold.low,
        "gold_win_rate_high": gold.high,
        "n": judged.n,
        "n_missing": judged.n_missing,
        "n_empty": int((items["output"].str.strip() == "").sum()),
        "mean_length": float(items["length"].mean()),
        "cost_usd": cost_usd,
    }


def leaderboard(
    judged: Judged,
    items: "pd.DataFrame",
    *,
    title: str,
    excluded: Sequence[str],
    samples: int,
    seed: int,
    notes: Sequence[str],
) -> Leaderboard:
    """The sides by win rate, best first; instructions of the excluded categories do not count."""
    import pandas as pd

    counted = items[~items["category"].isin(excluded)]
    rows = [
        {
            "name": name,
            **leaderboard_row(
                counted[counted["name"] == name],
                cost_usd=evaluation.manifest["results"]["cost_usd"],
                seed=seed,
            ),
        }
        for name, evaluation in judged.evaluations.items()
    ]
    table = pd.DataFrame(rows).sort_values("win_rate", ascending=False, kind="stable")
    for name in table["name"][~table["length_controlled_identified"] & (table["n"] > 0)]:
        notes = [*notes, f"{name}: {_UNIDENTIFIED}"]
    lengths = counted.drop_duplicates("instruction_id")["length_reference"]
    outside = len(judged.instructions) - len(lengths)
    if outside:
        notes = [*notes, f"{outside:,} instructions of {', '.join(excluded)} do not count."]
    return Leaderboard(
        title=title,
        reference=judged.reference,
        instructions=len(lengths),
        reference_length=float(lengths.mean()),
        rows=table.reset_index(drop=True),
        notes=notes,
        samples=_samples(items, judged.reference, count=samples, seed=seed),
    )


def _samples(items: "pd.DataFrame", reference: str, *, count: int, seed: int) -> list[Sample]:
    """`count` seeded instructions with all answers, the reference's first."""
    ids = items["instruction_id"].unique()
    chosen = sorted(generator(seed, "samples").permutation(len(ids))[:count])
    samples = []
    for id in ids[chosen]:
        rows = items[items["instruction_id"] == id]
        first = rows.iloc[0]
        answers = [Answer(reference, first["output_reference"], None)]
        answers += [
            Answer(row.name, row.output, row.preference) for row in rows.itertuples(index=False)
        ]
        samples.append(Sample(first["instruction"], answers))
    return samples


def write_data(folder: Path, judged: Judged, items: "pd.DataFrame") -> list[Path]:
    """`annotations.json` and `items.parquet`."""
    annotations = folder / "annotations.json"
    rows = json.dumps(list(judged.annotations()), ensure_ascii=False, indent=1)
    annotations.write_text(rows, encoding="utf-8")
    table = folder / "items.parquet"
    items.to_parquet(table, index=False)
    return [annotations, table]
