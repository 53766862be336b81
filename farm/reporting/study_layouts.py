"""The tables of a study as people read them, in the terminal and on the page.

Each function takes the frames of `farm.studies.tables` and arranges what one table shows: rates are
percent against the reference, and every figure with `_low` and `_high` beside it is shown with its
95 % interval.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from farm.reporting.formats import interval, number
from farm.reporting.views import Cell, Column
from farm.studies.over_seeds import over_seeds


@dataclass(frozen=True)
class Layout:
    """A frame as a table."""

    title: str
    caption: str
    names: Mapping[str, str]
    """Columns of text with their headings."""
    figures: Sequence[Column]
    rows: pd.DataFrame

    @property
    def lines(self) -> list[tuple[list[str], list[Cell]]]:
        """The rows: texts, then figures."""
        return [
            (
                [str(row[name]) for name in self.names],
                [
                    Cell(number(row[c.source], c.decimals), interval(row, c.source, c.decimals))
                    for c in self.figures
                ],
            )
            for row in self.rows.to_dict("records")
        ]


def correlations(frame: pd.DataFrame, measures: Sequence[str] = ("spearman", "kendall")) -> Layout:
    """Each simulated ranking against the people's."""
    counts = frame.groupby("policies", sort=False)["n"].first()
    figures = [
        Column(f"{measure.capitalize()}, {kind}", f"{n} policies", f"{kind} {measure}", 2)
        for measure in measures
        for kind, n in counts.items()
    ]
    wide = side_by_side(frame, ["annotators", "comparison"], "policies", measures)
    return Layout(
        "Correlations",
        "Of each ranking with the people's own, who train and judge. Intervals resample seeds and "
        "instructions and lean to low values, since they resample rankings that are uncertain "
        "already.",
        {"annotators": "Annotators", "comparison": "Comparison"},
        figures,
        wide,
    )


def side_by_side(
    frame: pd.DataFrame, index: list[str], across: str, figures: Sequence[str]
) -> pd.DataFrame:
    """One row per `index`, in the order in which they come, with a column `NAME FIGURE` for every
    name in `across`, its interval behind it."""
    ends = [f"{figure}{end}" for figure in figures for end in ("", "_low", "_high")]
    ends = [name for name in ends if name in frame]
    wide = frame.pivot(index=index, columns=across, values=ends)
    wide = wide.set_axis(wide.columns.map("{0[1]} {0[0]}".format), axis="columns")
    order = frame[index].drop_duplicates()
    return order.merge(wide.reset_index(), on=index)


def with_p_values(*differing: Column) -> list[Column]:
    """For each column, whose source is what differs, its difference and the adjusted p-value, as
    `side_by_side` names them."""
    return [
        column
        for of in differing
        for column in (
            of._replace(source=f"{of.source} difference"),
            Column("Holm", "p", f"{of.source} adjusted", 3),
        )
    ]


RANK = Column("Rank", "", "rank", 0)
WIN_RATE = Column("Win rate", "%, ", "win_rate", 1)


def places(frame: pd.DataFrame, measures: Sequence[Column] = (RANK, WIN_RATE)) -> Layout:
    """Places by the people beside those by the simulation, the people's best first."""
    simulated, human = frame["annotators"].unique()
    names = [measure.source for measure in measures]
    wide = side_by_side(frame, ["policy"], "annotators", [*names, "letters"])
    best_first = frame[frame["annotators"] == human][["policy"]]
    figures = [
        measure._replace(unit=f"{measure.unit}{side}", source=f"{side} {measure.source}")
        for side in (human, simulated)
        for measure in measures
    ]
    return Layout(
        "Places",
        "Each side trains and judges. Policies that share a letter are not told apart (all pairs, "
        "Holm, 5 %).",
        {"policy": "Policy", **{f"{s} letters": f"Letters, {s}" for s in (human, simulated)}},
        figures,
        best_first.merge(wide, on="policy"),
    )


def judges(win_rates: pd.DataFrame, dose_response: pd.DataFrame) -> dict[str, str]:
    """Evaluators to show, with their titles: without dialled biases; those that say the same of
    every policy count once, under all their names."""
    dialled = {f"{row.bias} {row.dose:g}" for row in dose_response.itertuples()}
    rates = win_rates.pivot(
        index="evaluator", columns=["annotators", "policy"], values="win_rate"
    ).loc[[name for name in win_rates["evaluator"].unique() if name not in dialled]]
    groups = rates.groupby(list(rates.columns), sort=False, dropna=False).groups
    return {names[0]: " = ".join(names) for names in map(list, groups.values())}


def win_rates(frame: pd.DataFrame, annotators: str, shown: Mapping[str, str]) -> Layout:
    """Policies that one choice of annotators trained, by every judge."""
    rows = frame[(frame["annotators"] == annotators) & frame["evaluator"].isin(list(shown))]
    return Layout(
        f"Trained by {annotators}",
        f"Win rates of what {annotators} trained, by judge. Intervals resample seeds and "
        "instructions.",
        {"policy": "Policy"},
        [Column(title, "%", f"{name} win_rate", 1) for name, title in shown.items()],
        side_by_side(rows, ["policy"], "evaluator", ["win_rate"]),
    )


def dose_response(frame: pd.DataFrame) -> Layout:
    """What dialled biases do."""
    return Layout(
        "Dose and response",
        "The judge with a bias, dose 0 as it is: correlation of its ranking with the people's "
        "(of the same policies), the gold utility lost by choosing the policy that it likes best, "
        "and the mean length of that policy's answers.",
        {"bias": "Bias", "chosen": "Chosen"},
        [
            Column("Dose", "", "dose", 2),
            Column("Spearman", "", "spearman", 2),
            Column("Regret", "gold utility", "regret", 3),
            Column("Length", "chars", "chosen_length", 1),
        ],
        frame,
    )


def turns(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per annotators: in how many of the seeds gold turned over, as `seeds` in words, and
    the mean drop with its interval over seeds."""
    counts = frame.groupby("annotators", sort=False)["turns_over"].agg(["sum", "count"])
    words = [f"{turned} of {seeds}" for turned, seeds in counts.itertuples(index=False)]
    drops = over_seeds(frame, ["annotators"], ["gold_drop", "proxy_rise_after_peak"])
    return drops.assign(seeds=words, none=(counts["sum"] == 0).to_numpy())


_DROP = (
    Column("Peak minus end", "gold utility", "gold_drop", 3),
    Column("Proxy after the peak", "reward", "proxy_rise_after_peak", 2),
)


def turning_points(frame: pd.DataFrame) -> Layout:
    """Whether gold turned over, by annotators."""
    return Layout(
        "Turning points",
        "Gold utility of the checkpoints: peak minus end (chosen on one half of the instructions, "
        "measured on the other), and what the proxy reward gained after the peak. Means over "
        "seeds; intervals by Student's t over seeds. It turns over in a seed where that seed's own "
        "interval of peak minus end, over instructions, lies above 0.",
        {"annotators": "Annotators", "seeds": "Seeds that turn over"},
        _DROP,
        turns(frame),
    )


def turning_points_by_seed(frame: pd.DataFrame) -> Layout:
    """Whether gold turned over, seed by seed."""
    verdict = frame["turns_over"].map({True: "yes", False: "no"})
    return Layout(
        "Turning points, seed by seed",
        "The same with the step of the highest gold utility; intervals are over instructions.",
        {"annotators": "Annotators", "seed": "Seed", "turns_over": "Turns over"},
        [Column("Peak", "step", "peak_step", 0), *_DROP],
        frame.assign(turns_over=verdict),
    )


GAINS = ("proxy", "gold", "reward-model error", "annotator bias")
"""The first is the sum of the others."""


def gains(failures: pd.DataFrame) -> pd.DataFrame:
    """What each learner gained from its start to its last step, in points of win rate, as means
    over seeds: the columns `GAINS`, by annotators."""
    of = ["annotators", "seed"]
    ordered = failures.sort_values("step", kind="stable").groupby(of, sort=False)
    first, last = ordered.first(), ordered.last()
    gained = pd.DataFrame(
        {
            "proxy": last["proxy_win_rate"] - first["proxy_win_rate"],
            "gold": last["gold_win_rate"] - first["gold_win_rate"],
            "reward-model error": last["reward_model_error"],
            "annotator bias": last["annotator_bias"],
        }
    )
    return over_seeds(gained.reset_index(), ["annotators"], GAINS)


def failures(frame: pd.DataFrame) -> Layout:
    """Where the proxy's gain went."""
    return Layout(
        "Where the proxy's gain went",
        "From the start to the last step, in points of win rate: what the proxy gained is what "
        "gold gained, the reward model's error (proxy less the annotators' own judge) and the "
        "annotators' bias (that judge less gold). Means over seeds; intervals by Student's t over "
        "seeds.",
        {"annotators": "Annotators"},
        [Column(f"{name[0].upper()}{name[1:]}", "points", name, 1) for name in GAINS],
        gains(frame),
    )


def laws(frame: pd.DataFrame) -> Layout:
    """The laws' coefficients, as medians with the range of the seeds."""
    names = ["alpha", "beta", "peak", "r_squared"]
    groups = frame.groupby(["annotators", "law"], sort=False)[names]
    parts = [groups.median(), groups.min().add_suffix("_low"), groups.max().add_suffix("_high")]
    return Layout(
        "Laws of over-optimisation",
        "Gao, Schulman and Hilton 2022, fitted to gold utility with d = √KL: d (alpha - "
        "beta d) for best-of-n, d (alpha - beta log d) for reinforcement learning. The peak is the "
        "d where the law is highest, inf where it never falls. Medians over seeds, below them the "
        "range.",
        {"annotators": "Annotators", "law": "Law"},
        [
            Column("Alpha", "", "alpha", 2),
            Column("Beta", "", "beta", 2),
            Column("Peak", "√nats", "peak", 2),
            Column("R²", "", "r_squared", 2),
        ],
        pd.concat(parts, axis=1).reset_index(),
    )


def alarms(frame: pd.DataFrame) -> Layout:
    """What stopping rules cost."""
    return Layout(
        "Alarms that see no gold",
        "Regret is the highest gold utility of a curve minus that where the rule stops, as a mean "
        "over seeds; the interval resamples seeds.",
        {"annotators": "Annotators", "rule": "Rule"},
        [
            Column("Regret", "gold utility", "regret", 3),
            Column("Stopped", "% of seeds", "stopped", 0),
            Column("Too early", "% of seeds", "too_early", 0),
            Column("Too late", "% of seeds", "too_late", 0),
        ],
        frame,
    )


def variance(frame: pd.DataFrame) -> Layout:
    """Where the variance of a win rate comes from."""
    return Layout(
        "Shares of variance",
        "Of each policy's mean win rate: training seed, instruction, and what only this seed does "
        "on this instruction.",
        {"policy": "Policy"},
        [
            Column("Seed", "%", "seed", 0),
            Column("Instruction", "%", "instruction", 0),
            Column("Residual", "%", "residual", 0),
            Column("Standard error", "points", "standard_error", 2),
        ],
        frame,
    )
