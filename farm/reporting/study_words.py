"""What a study found, in sentences that are computed from its tables alone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from farm.evaluation.comparisons import LEVEL
from farm.reporting.formats import interval, number
from farm.reporting.study_layouts import GAINS, gains, turns
from farm.studies.over_seeds import over_seeds
from farm.studies.overoptimization import TO_THE_END
from farm.studies.rankings import HALVES

Tables = Mapping[str, pd.DataFrame]
Row = Mapping[Any, Any]

PUBLISHED_SPEARMAN = 0.98
"""Between simulated and human win rates of AlpacaFarm (Dubois et al. 2023, arXiv 2305.14387)."""

CHANCE = 50.0
"""Percent against the reference that nothing learned would have."""

PARTS = {
    "end to end": "end to end",
    "evaluation only": "judging what people trained",
    "training only": "training for people to judge",
}


def summary(tables: Tables, human: str) -> dict[str, list[str]]:
    """Paragraphs by heading; a part that the study has nothing on says so."""
    return {
        "Rankings": [
            *_correlations(tables["correlations"], human),
            " ".join(_pairs(tables["comparisons"], human)),
            " ".join(_best(tables["places"], human)),
        ],
        "Controls": list(
            _controls(tables["controls"], str(tables["places"]["annotators"].iloc[0]))
        ),
        "Dialled biases": list(_doses(tables["dose_response"])),
        "Over-optimisation": _overoptimization(tables),
    }


def _controls(frame: pd.DataFrame, judge: str) -> Iterator[str]:
    """Whether anything that learned from a control's labels wins by the first judge."""
    if frame.empty:
        yield "The study has no control whose labels carry no preference."
        return
    for control, rows in frame[frame["evaluator"] == judge].groupby("annotators", sort=False):
        mean = number(rows["win_rate"].mean(), 1)
        winners = rows[rows["win_rate_low"] > CHANCE]
        told = listed(
            [
                f"{row['policy']} ({figure(row, 'win_rate', 1)})"
                for row in winners.to_dict("records")
            ]
        )
        yield (
            f"What learned from {control}'s labels has {mean} % by {judge} on average; "
            + (
                f"above {CHANCE:.0f} by more than their intervals are {told}: this control fails."
                if told
                else f"no policy lies above {CHANCE:.0f} by more than its interval."
            )
        )


def _overoptimization(tables: Tables) -> list[str]:
    """Whether gold turned over, why, and what would have told."""
    if tables["turning_points"].empty:
        return ["No true utility is known here, so nothing can be said of over-optimisation."]
    return [
        " ".join(_turns(tables["turning_points"])),
        " ".join(_best_of_n(tables["best_of_n"])),
        " ".join(_failures(tables["failures"])),
        " ".join(_alarms(tables["alarms"])),
    ]


def figure(row: Row, column: str, decimals: int = 2) -> str:
    """`0.95 (0.90–0.98)`."""
    ends = interval(row, column, decimals)
    return number(row[column], decimals) + (f" ({ends})" if ends else "")


def listed(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _correlations(frame: pd.DataFrame, human: str) -> Iterator[str]:
    halves = frame["comparison"] == HALVES
    for annotators, rows in frame[~halves].groupby("annotators", sort=False):
        everyone, learned = (rows[rows["policies"] == kind] for kind in ("all", "learned"))
        yield (
            f"{annotators}'s ranking of the {everyone['n'].iloc[0]} policies agrees with {human}'s "
            f"with {_agreement(everyone)}. {_published(everyone)}{_without_start(learned)}"
        )
    if not halves.any():
        yield "There is one seed: intervals cover instructions alone."
    for row in frame[halves & (frame["policies"] == "all")].to_dict("records"):
        yield (
            f"{human}'s ranking by half of the seeds agrees with that by the other half with "
            f"Spearman {figure(row, 'spearman')}: a simulation that agrees as well does "
            "as well as training again with people."
        )


def _agreement(rows: pd.DataFrame) -> str:
    by = rows.set_index("comparison").to_dict("index")
    return "Spearman " + listed(
        [f"{figure(by[name], 'spearman')} {how}" for name, how in PARTS.items()]
    )


def _published(rows: pd.DataFrame) -> str:
    found = rows.set_index("comparison").loc["end to end"]
    if found["spearman_high"] < PUBLISHED_SPEARMAN:
        where = "above the interval, which leans to low values: it is not replicated here"
    else:
        where = "not above the interval"
    return f"AlpacaFarm's {PUBLISHED_SPEARMAN}, end to end, is {where}."


def _without_start(learned: pd.DataFrame) -> str:
    if learned.empty:
        return ""
    found = learned.set_index("comparison").loc["end to end"]
    doubt = " The first interval includes 0: their order alone is not shown to transfer."
    return (
        f" Without the start policy's rows, of the {found['n']} learned policies alone, it is "
        f"{_agreement(learned)}.{doubt if found['spearman_low'] <= 0 else ''}"
    )


def _pairs(comparisons: pd.DataFrame, human: str) -> Iterator[str]:
    people, simulated = _sides(comparisons, human)
    told = (people["adjusted"] < LEVEL).sum()
    yield f"{human} tells {told} of {len(people)} pairs of policies apart (Holm, 5 %)."
    for annotators, rows in simulated.groupby("annotators", sort=False):
        both = people.merge(rows, on=["first", "second"], suffixes=("", "_simulated"))
        claimed = both["adjusted_simulated"] < LEVEL
        known = both["adjusted"] < LEVEL
        alike = both["difference"] * both["difference_simulated"] > 0
        yield (
            f"{annotators} tells {claimed.sum()} apart: {(known & claimed & alike).sum()} of those "
            f"pairs the same way, {(known & claimed & ~alike).sum()} the other way round, and "
            f"{(claimed & ~known).sum()} that {human} does not."
        )


def _best(places: pd.DataFrame, human: str) -> Iterator[str]:
    people, simulated = _sides(places, human)
    best = people.iloc[0]["policy"]
    for annotators, rows in simulated.groupby("annotators", sort=False):
        chosen = rows.iloc[0]["policy"]
        place = people[people["policy"] == chosen].iloc[0].to_dict()
        yield (
            f"{annotators} and {human} both place {best} first."
            if chosen == best
            else f"{human} places {best} first; {annotators} places {chosen} first, which {human} "
            f"places {figure(place, 'rank', 0)} of {len(people)}."
        )


def _sides(frame: pd.DataFrame, human: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    of_people = frame["annotators"] == human
    return frame[of_people], frame[~of_people]


def _doses(frame: pd.DataFrame) -> Iterator[str]:
    """What the strongest dose of every bias does."""
    if frame.empty:
        yield "No bias was dialled."
        return
    for bias, rows in frame.groupby("bias", sort=False):
        without, most = (rows.iloc[place].to_dict() for place in (0, -1))
        yield (
            f"With a bias for {bias} at dose {most['dose']:g} the judge's ranking agrees with the "
            f"people's with Spearman {figure(most, 'spearman')}, without it with "
            f"{figure(without, 'spearman')}. The policy that it likes best, {most['chosen']}, has "
            f"answers of {number(most['chosen_length'], 0)} characters and loses "
            f"{number(most['regret'], 3)} of gold utility; without the bias it is "
            f"{without['chosen']}, with {number(without['chosen_length'], 0)} characters and a "
            f"loss of {number(without['regret'], 3)}."
        )


def _turns(frame: pd.DataFrame) -> Iterator[str]:
    rows = turns(frame).to_dict("records")
    told = [
        f"in {row['seeds']} seeds with {row['annotators']}'s labels (peak minus end "
        f"{figure(row, 'gold_drop')})"
        for row in rows
    ]
    yield f"Gold utility turns over {listed(told)}."
    steady = [row["annotators"] for row in rows if row["none"]]
    if steady:
        yield (
            f"With the labels of {listed(steady)} no over-optimisation is shown. AlpacaFarm saw "
            "it with people's labels and with its noisy pool's (figure 4)."
        )


def _best_of_n(frame: pd.DataFrame) -> Iterator[str]:
    means = over_seeds(frame, ["annotators", "n"], ["gold"])
    for annotators, curve in means.groupby("annotators", sort=False):
        points = curve.to_dict("records")
        best, last = max(points, key=lambda point: point["gold"]), points[-1]
        told = f"is highest at n = {best['n']} with {figure(best, 'gold')}"
        if best["n"] == last["n"]:
            told = f"does not fall: it {told}, the largest n"
        else:
            told = f"{told} and falls to {figure(last, 'gold')} at n = {last['n']}"
        yield f"With {annotators}'s labels the gold utility of best-of-n {told}."


def _failures(frame: pd.DataFrame) -> Iterator[str]:
    for row in gains(frame).to_dict("records"):
        parts = [f"{figure(row, name, 1)} {name}" for name in GAINS[1:]]
        yield (
            f"With {row['annotators']}'s labels the proxy gains {figure(row, GAINS[0], 1)} points "
            f"of win rate from the start to the last step: {listed(parts)}."
        )


def _alarms(frame: pd.DataFrame) -> Iterator[str]:
    for annotators, rows in frame.groupby("annotators", sort=False):
        by = {row["rule"]: row for row in rows.to_dict("records")}
        end = by.pop(TO_THE_END)
        best = min(by.values(), key=lambda row: row["regret"])
        told = f"training to the end costs {figure(end, 'regret', 3)} of gold utility"
        if best["regret"] < end["regret"]:
            told += f"; the best alarm, “{best['rule']}”, {figure(best, 'regret', 3)}"
        else:
            told += ", and no alarm costs less"
        yield f"With {annotators}'s labels {told}."
