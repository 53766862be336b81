"""What merges gain over their parents, on made-up figures, and which studies make no sense."""

import io

import numpy as np
import pytest
from fake_merging import DOMAINS, POLICIES, measured
from rich.console import Console
from scipy.stats import t

from farm.data.barnyard.gold import BarnyardCorrect
from farm.errors import ConfigError
from farm.evaluation.merging import merge_gain
from farm.reporting.merging_tables import print_merging
from farm.studies.merging_study import EVERYWHERE, MergingStudy
from farm.studies.merging_tables import merging_tables

WORDS = {
    "seeds": (1, 2),
    "domains": {"order": ["sort"], "meaning": ["add"]},
    "parents": {"order": [], "meaning": []},
    "others": {},
    "merges": {"mean": ["method=merge"]},
    "score": BarnyardCorrect(),
    "temperature": 0.0,
}


def test_a_gain_is_over_the_mean_and_over_the_better_parent() -> None:
    gain = merge_gain(70.0, 80.0, 40.0)
    assert gain._asdict() == {
        "expected": 60.0, "diversity": 40.0, "over_expected": 10.0, "over_best": -10.0,
    }  # fmt: skip
    assert merge_gain(70.0, 40.0, 80.0) == gain


def test_gains_are_paired_by_seed_with_students_interval() -> None:
    found = measured()
    gains = merging_tables(found, DOMAINS)["gains"].set_index(["policy", "domain"])
    scores = found.scores.pivot(index=["seed", "domain"], columns="policy", values="score")
    for domain in (*DOMAINS, EVERYWHERE):
        rows = (
            scores.groupby("seed").mean()
            if domain == EVERYWHERE
            else scores.xs(domain, level="domain")
        )
        over_best = rows["good"] - rows[["order", "meaning"]].max(axis="columns")
        low, high = t.interval(0.95, 4, over_best.mean(), over_best.sem())
        row = gains.loc[("good", domain)]
        assert (row["over_best"], row["over_best_low"], row["over_best_high"]) == pytest.approx(
            (over_best.mean(), low, high)
        )
        diversity = (rows["order"] - rows["meaning"]).abs().mean()
        assert row["diversity"] == pytest.approx(diversity)


def test_synergy_is_told_from_none() -> None:
    gains = merging_tables(measured(), DOMAINS)["gains"].set_index(["policy", "domain"])
    good, mean = (gains.loc[(name, EVERYWHERE)] for name in ("good", "mean"))
    assert good["over_best_low"] > 0 and good["adjusted"] < 0.05
    assert mean["over_expected_low"] < 0 < mean["over_expected_high"]
    assert (gains["adjusted"] >= gains["p_value"]).all()


def test_every_policy_is_in_the_table_with_both_domains_and_their_mean() -> None:
    tables = merging_tables(measured(), DOMAINS)
    wide = tables["performance"].pivot(index="policy", columns="domain", values="score")
    assert set(wide.index) == set(POLICIES)
    assert np.allclose(wide[EVERYWHERE], wide[list(DOMAINS)].mean(axis="columns"))
    assert tables["parallel"].set_index("policy").loc["mean", "distance"] == pytest.approx(0.13)


@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
def test_few_seeds_are_printed_too(seeds: tuple[int, ...]) -> None:
    console = Console(file=io.StringIO(), width=100)
    print_merging(merging_tables(measured(seeds), DOMAINS), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for name in POLICIES:
        assert name in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"domains": {"order": ["sort"]}}, "give two"),
        ({"domains": {"order": ["sort"], "meaning": ["sort"]}}, "sort cannot be in both"),
        ({"parents": {"order": []}}, "one for each of order, meaning"),
        ({"merges": {}}, "at least one"),
        ({"merges": {"order": []}}, "order names two policies"),
        ({"seeds": (1, 1)}, "study.seeds"),
    ],
)
def test_mistakes_are_named(change: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        MergingStudy(**{**WORDS, **change})  # type: ignore[arg-type]


def test_a_merge_of_others_than_the_parents_is_named() -> None:
    with pytest.raises(ConfigError, match=r"names meanign\. Did you mean meaning"):
        MergingStudy(**WORDS).check_policies("mean", ["order", "meanign"])  # type: ignore[arg-type]


def test_tables_keep_the_order_of_policies() -> None:
    performance = merging_tables(measured(), DOMAINS)["performance"]
    assert list(performance["policy"].drop_duplicates()) == list(POLICIES)
