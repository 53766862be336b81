"""What stages tell of annotators: accounts, caveats, progress."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from farm.artifacts import Store
from farm.data.records import make_pair, user_instruction
from farm.heartbeat import beat, note
from farm.stages.job import Job
from farm.stages.labelling import Hearing, accounts, caveats
from farm.types import Judgment, Pair, Usage


def judged(preference: float | None = 1.0, **fields: Any) -> Judgment:
    asked = {
        "annotator": "judge", "requested_model": "m", "model": "m-1",
        "usage": Usage(0.5, 10, 2), "cost_usd": 0.25,
    }  # fmt: skip
    return Judgment("id", preference, order="ab", **{**asked, **fields})


def test_accounts_tell_prices_from_payments() -> None:
    rows = [judged(), judged(cached=True), Judgment("id", 1.0, "noise", "ab", noised=True)]
    found = accounts([*rows, judged(None, error="x")])
    assert found == {
        "labels": 4, "no_verdict": 1, "noised": 1, "requests": 1.5, "prompt_tokens": 30,
        "completion_tokens": 6, "cost_usd": 0.75, "paid_usd": 0.5,
    }  # fmt: skip


def test_one_unknown_price_makes_the_sum_unknown_not_smaller() -> None:
    found = accounts([judged(), judged(cost_usd=None)])
    assert (found["cost_usd"], found["paid_usd"]) == (None, None)
    assert accounts([judged(), judged(cost_usd=None, cached=True)])["paid_usd"] == 0.25
    (warning,) = caveats([judged(), judged(cost_usd=None)])
    assert "price of m is not known" in warning


def test_a_judge_whose_model_changes_is_reported() -> None:
    (warning,) = caveats([judged(), judged(model="m-2"), judged(annotator="other", model="m-9")])
    assert "judge asked for m and was answered by m-1, m-2" in warning
    assert caveats([judged(), judged(annotator="other", model="m-9")]) == []


def test_missing_verdicts_are_counted_by_reason() -> None:
    rows = [judged(), *[judged(None, error="no text")] * 2, judged(None, error="gave up")]
    assert caveats(rows) == ["3 of 4 pairs got no verdict: 2 x no text; 1 x gave up."]


class Talking:
    """Says what it does; a sign of life for each pair."""

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        for _ in pairs:
            beat(1, {"cost_usd": 0.5})
        note("mind this")
        note("mind this")
        return [judged() for _ in pairs]


def test_hearing_adds_up_progress_and_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[int, int, dict[str, float]]] = []

    def hear(step: int, total: int, metrics: Mapping[str, float]) -> None:
        heard.append((step, total, dict(metrics)))

    monkeypatch.setattr(Job, "check_fence", lambda job: None)
    job = Job("f", "s", "k", tmp_path, "", Store(tmp_path), {}, {}, 0, on_progress=hear)
    hearing = Hearing(job, total=5)
    pair = make_pair(user_instruction("x"), "a", "b")
    for count in (3, 2):
        hearing.annotate(Talking(), [pair] * count, seed=0)
    assert heard[2] == (3, 5, {"cost_usd": 1.5})
    assert heard[-1] == (5, 5, {"cost_usd": 2.5})
    assert hearing.notes == ["mind this"]
