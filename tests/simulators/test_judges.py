"""Judges: what is asked, what is read, what becomes of what cannot be read."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fake_model import Answer, FakeModel

from farm.data.records import make_instruction, make_pair, turn_pair, user_instruction
from farm.errors import ConfigError
from farm.types import Judgment, Message, Pair
from simulators.chat.types import Capabilities, ChatRequest, Reply
from simulators.judges.asking import Sampling, TooManyUnparsed
from simulators.judges.assessment import Assessment, read_score
from simulators.judges.fences import Text, read_fenced
from simulators.judges.judge import Judge
from simulators.judges.parsers import (
    ATTRIBUTES,
    JsonVerdicts,
    Letter,
    Numbered,
    Parser,
    Ratings,
    Reasoned,
    Verdict,
)
from simulators.judges.ranking import RankingJudge, read_ranking, write_ranking

PAIRS = [
    make_pair(user_instruction(f"task {n}"), f"short {n}", f"longer text {n}") for n in range(10)
]
SAMPLING = Sampling(max_tokens=50)
PARSERS = {
    "letter": Letter(),
    "reasoned": Reasoned(),
    "numbered": Numbered(),
    "json": JsonVerdicts(),
    "ratings": Ratings(),
}


def judge(prompt: str, answer: Answer, parser: Parser | None = None, **settings: object) -> Judge:
    model = settings.pop("model", None) or FakeModel(answer)
    return Judge(
        name="judge",
        prompt=prompt,
        parser=parser or PARSERS[prompt],
        sampling=SAMPLING,
        model=model,  # type: ignore[arg-type]
        **settings,  # type: ignore[arg-type]
    )


def shown(request: ChatRequest) -> list[Text]:
    return read_fenced(request.messages[-1].content)


def preferences(judgments: Sequence[Judgment]) -> list[float | None]:
    return [judgment.preference for judgment in judgments]


# ------------------------------------------------------------------------------------ parsers


@pytest.mark.parametrize("prompt", ["reasoned", "numbered", "json", "ratings"])
@pytest.mark.parametrize("preference", [0.0, 0.5, 1.0])
def test_what_is_written_is_read_back(prompt: str, preference: float) -> None:
    parser = PARSERS[prompt]
    written = parser.write([Verdict(preference)])
    assert parser.parse(Reply(written), 1)[0].preference == preference


@pytest.mark.parametrize("prompt", ["numbered", "json"])
def test_several_verdicts_are_read_in_order(prompt: str) -> None:
    verdicts = [Verdict(0.0), Verdict(1.0), Verdict(0.5), Verdict(1.0)]
    read = PARSERS[prompt].parse(Reply(PARSERS[prompt].write(verdicts)), 4)
    assert [v.preference for v in read] == [0.0, 1.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("text", "top", "expected"),
    [
        ("P", (("P", math.log(0.6)), ("Q", math.log(0.2))), 0.25),
        ("P", ((" P", math.log(0.3)), ("P", math.log(0.3)), ("Q", math.log(0.2))), 0.25),
        ("Q", (("Q", math.log(0.9)),), 1.0),
        ("The", (("The", math.log(0.5)), ("Q", math.log(0.1)), ("P", math.log(0.3))), 0.25),
        ("The", (("The", math.log(0.5)),), None),
        ("I", (("I", math.log(0.9)), ("P", -14.0)), None),
        ("Q", (("p", math.log(0.5)),), None),
        ("Q.", None, 1.0),
        ("P or Q", None, None),
    ],
)
def test_letters(
    text: str, top: tuple[tuple[str, float], ...] | None, expected: float | None
) -> None:
    (verdict,) = Letter().parse(Reply(text, top_logprobs=top), 1)
    assert verdict.preference == (None if expected is None else pytest.approx(expected))
    assert (verdict.error is None) == (expected is not None)


@pytest.mark.parametrize(
    ("prompt", "count", "text"),
    [
        ("reasoned", 1, "Both are good."),
        ("reasoned", 1, "Verdict: 3"),
        ("reasoned", 1, "Verdict: 1\nBut then again, no."),
        ("numbered", 2, "1: 2"),
        ("numbered", 2, "1: 2\n3: 1"),
        ("numbered", 2, "1: 2\n1: 1"),
        ("numbered", 2, "1: 2\n2: 1\n3: 1"),
        ("numbered", 1, "1: 1 or 2"),
        ("json", 1, "{"),
        ("json", 1, "[1]"),
        ("json", 1, '{"verdicts": [{"pair": 2, "better": "1"}]}'),
        ("json", 1, '{"verdicts": "1"}'),
        ("json", 1, "[" * 100_000),
        ("ratings", 1, '{"strength": 2}'),
        ("ratings", 1, json.dumps({"answer 1": dict.fromkeys(ATTRIBUTES, 5), "strength": 1})),
    ],
)
def test_what_was_not_offered_is_no_verdict(prompt: str, count: int, text: str) -> None:
    read = PARSERS[prompt].parse(Reply(text), count)
    assert len(read) == count
    assert all(v.preference is None and v.error for v in read)


def test_a_json_verdict_outside_the_set_spoils_only_its_own_pair() -> None:
    text = (
        '{"verdicts": [{"pair": 1, "better": "3"}, {"pair": 2, "better": "2", "explanation": "x"}]}'
    )
    first, second = JsonVerdicts().parse(Reply(text), 2)
    assert first.preference is None and first.error
    assert second == Verdict(1.0, "x")


def test_ratings_give_strength_and_attributes() -> None:
    rated = {"answer 1": dict.fromkeys(ATTRIBUTES, 4), "answer 2": dict.fromkeys(ATTRIBUTES, 1)}
    (verdict,) = Ratings().parse(Reply(f"```json\n{json.dumps({**rated, 'strength': -3})}\n```"), 1)
    assert (verdict.preference, verdict.strength) == (0.0, -3.0)
    assert verdict.attributes == dict.fromkeys(ATTRIBUTES, (4.0, 1.0))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8||good", 8.0),
        (" 7.6 || x", 8.0),
        ("10||", 10.0),
        ("11||x", None),
        ("0||x", None),
        ("9", None),
    ],
)
def test_scores(text: str, expected: float | None) -> None:
    assert read_score(text) == expected


def test_rankings() -> None:
    assert read_ranking("2 > 3 > 1", 3) == [2, 0, 1]
    assert read_ranking(write_ranking([2, 0, 1]), 3) == [2, 0, 1]
    for wrong in ("2 > 3", "1 > 2 > 2", "1 > 2 > 3 > 4", "first 1 > 2 > 3", ""):
        assert read_ranking(wrong, 3) is None


# ------------------------------------------------------------------------------------- judges


def longer_wins(request: ChatRequest) -> str:
    answers = [text for name, text in shown(request) if "answer" in name]
    return "Q" if len(answers[1]) > len(answers[0]) else "P"


def test_a_judge_sees_conversation_and_answers() -> None:
    turns = [Message("system", "be brief"), Message("user", "a"), Message("assistant", "b")]
    pair = make_pair(make_instruction([*turns, Message("user", "c\n\nd")]), "x", "y")
    model = FakeModel(longer_wins)
    judge("letter", longer_wins, model=model, parser=Letter(fallback_samples=1)).annotate(
        [pair], seed=0
    )
    (request,) = model.asked
    assert shown(request) == [
        ("system", "be brief"), ("user", "a"), ("assistant", "b"), ("user", "c\n\nd"),
        ("answer P", "x"), ("answer Q", "y"),
    ]  # fmt: skip
    assert "{{" not in "".join(message.content for message in request.messages)


def test_verdicts_turn_with_the_pair_and_carry_their_origin() -> None:
    ask = judge("letter", longer_wins, parser=Letter(fallback_samples=1))
    straight = ask.annotate(PAIRS, seed=0)
    turned = ask.annotate([turn_pair(pair) for pair in PAIRS], seed=0)
    assert preferences(straight) == [1.0] * 10
    assert preferences(turned) == [0.0] * 10
    first = straight[0]
    assert (first.annotator, first.requested_model, first.model) == ("judge", "fake", "fake-1")
    assert first.raw == "Q" and first.prompt_hash and first.order == "ab"
    assert first.cost_usd == pytest.approx((100 * 1 + 10 * 2) / 1e6)


def test_without_logprobs_a_letter_is_sampled_several_times() -> None:
    draws = iter("PQQQP" * 10)
    ask = judge("letter", lambda request: next(draws), parser=Letter(fallback_samples=5))
    (judgment,) = ask.annotate(PAIRS[:1], seed=0)
    assert judgment.preference == pytest.approx(0.6)
    assert sorted(judgment.votes or ()) == [0.0, 0.0, 1.0, 1.0, 1.0]
    assert judgment.usage is not None and judgment.usage.requests == 5


def test_capabilities_decide_what_is_sent() -> None:
    able = FakeModel(longer_wins, Capabilities(seed="run"))
    unable = FakeModel(
        longer_wins,
        Capabilities(
            temperature=False, logprobs=False, token_parameter="max_completion_tokens",
            json_mode=False, system_role=False,
        ),
    )  # fmt: skip
    for model in (able, unable):
        Judge(
            name="j", prompt="letter", parser=Letter(fallback_samples=1),
            sampling=Sampling(max_tokens=1, temperature=0.0), model=model,
        ).annotate(PAIRS[:1], seed=7)  # fmt: skip
    assert dict(able.asked[0].settings) == {
        "max_tokens": 1, "temperature": 0.0, "logprobs": True, "top_logprobs": 5, "seed": 7,
    }  # fmt: skip
    assert dict(unable.asked[0].settings) == {"max_completion_tokens": 1}
    assert [message.role for message in unable.asked[0].messages] == ["user"]
    assert "careful reader" in unable.asked[0].messages[0].content


def test_seeds_differ_between_requests_unless_the_server_mixes() -> None:
    seeds = {}
    for kind in ("request", "run"):
        model = FakeModel(longer_wins, Capabilities(logprobs=False, seed=kind))  # type: ignore[arg-type]
        letter = Letter(fallback_samples=2)
        for _ in range(2):
            judge("letter", longer_wins, letter, model=model).annotate(PAIRS[:5], seed=3)
        seeds[kind] = [request.settings["seed"] for request in model.asked]
        assert sorted(seeds[kind][:10]) == sorted(seeds[kind][10:])
    assert len(set(seeds["request"])) == 10
    assert len(set(seeds["run"])) == 2  # one for each sample


def numbered(request: ChatRequest) -> str:
    answers = [text for name, text in shown(request) if "answer" in name]
    lines = [
        f"{n + 1}: {2 if len(b) > len(a) else 1}"
        for n, (a, b) in enumerate(zip(answers[::2], answers[1::2], strict=True))
    ]
    return "\n".join(lines)


def test_pairs_share_requests_over_the_whole_list() -> None:
    model = FakeModel(numbered)
    same = make_pair(user_instruction("same"), "x", "x")
    mixed = [PAIRS[0], same, *(turn_pair(p) if n % 2 else p for n, p in enumerate(PAIRS[1:]))]
    judgments = judge("numbered", numbered, model=model, pairs_per_request=4).annotate(
        mixed, seed=0
    )
    assert len(model.asked) == 3  # 4 + 4 + 2: identical texts are not asked about
    expected = [1.0, 0.5, *(0.0 if n % 2 else 1.0 for n in range(9))]
    assert preferences(judgments) == expected
    bills = [j.usage.requests for j in judgments if j.usage]
    assert sum(bills) == pytest.approx(3)
    assert sum(j.cost_usd or 0 for j in judgments) == pytest.approx(3 * 120e-6)


def test_too_many_unreadable_answers_stop_with_examples() -> None:
    ask = judge("reasoned", lambda request: "no <idea>", max_unparsed=0.05)
    with pytest.raises(TooManyUnparsed, match=r"judge: 6 of 10 .*max_unparsed=0.05.*'no <idea>'"):
        ask.annotate(PAIRS, seed=0)
    few = iter(["nonsense", "nonsense", *["Verdict: 2"] * 8])
    tolerated = judge("reasoned", lambda request: next(few), max_unparsed=0.1)
    judgments = tolerated.annotate(PAIRS, seed=0)
    assert preferences(judgments).count(None) == 2
    assert all(j.raw == "nonsense" and j.error for j in judgments if j.preference is None)


def test_failures_to_answer_are_no_verdicts_and_no_parsing_problem() -> None:
    ask = judge("reasoned", lambda request: Reply(None, error="gave up"), max_unparsed=0.0)
    judgments = ask.annotate(PAIRS, seed=0)
    assert {j.error for j in judgments} == {"gave up"}


def test_examples_come_before_the_pair(tmp_path: Path) -> None:
    rows = [{"instruction": "i", "input": "n", "output_1": "u", "output_2": "v", "preference": 2}]
    path = tmp_path / "examples.json"
    path.write_text(json.dumps(rows))
    model = FakeModel(numbered)
    judge("numbered", numbered, model=model, examples=str(path)).annotate(PAIRS[:1], seed=0)
    roles = [message.role for message in model.asked[0].messages]
    assert roles == ["system", "user", "assistant", "user"]
    assert model.asked[0].messages[2].content == "1: 2"
    assert read_fenced(model.asked[0].messages[1].content)[0] == ("user", "i\n\nn")


def test_a_missing_prompt_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"prompt=leter: there is no such file.*letter"):
        judge("leter", numbered, parser=Letter())


def test_a_prompt_file_needs_its_sections(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("[system]\nJudge.\n[user]\nno place for texts\n")
    with pytest.raises(ConfigError, match=r"mine.txt: the file must have a section \[system\]"):
        judge(str(path), numbered, parser=Letter())


# --------------------------------------------------------------------- rankings, assessments


def by_length(request: ChatRequest) -> str:
    answers = [text for name, text in shown(request) if "answer" in name]
    order = sorted(range(len(answers)), key=lambda n: -len(answers[n]))
    return " > ".join(str(n + 1) for n in order)


def _all_pairs(outputs: Sequence[str]) -> list[Pair]:
    asked = user_instruction("rank these")
    return [
        make_pair(asked, outputs[i], outputs[j])
        for i in range(len(outputs))
        for j in range(len(outputs))
        if i != j
    ]


def test_a_ranking_judges_all_its_pairs_in_one_request() -> None:
    model = FakeModel(by_length)
    ask = RankingJudge(name="ranker", prompt="ranking", sampling=SAMPLING, model=model)
    pairs = [*_all_pairs(["x", "xxx", "xx"]), *PAIRS[:1]]
    judgments = ask.annotate(pairs, seed=3)
    assert len(model.asked) == 2
    assert all(
        j.preference == float(len(p.output_b) > len(p.output_a))
        for p, j in zip(pairs, judgments, strict=True)
    )
    assert {j.order for j in judgments[:6]} == {"ab", "ba"}
    assert len({j.raw for j in judgments[:6]}) == 1
    assert sum(j.usage.requests for j in judgments if j.usage) == pytest.approx(2)


def test_an_assessment_is_a_scorer() -> None:
    answers = iter(["9||fine", "no idea", "2||bad"])
    scorer = Assessment(
        name="quality", prompt="assess_quality", sampling=SAMPLING,
        model=FakeModel(lambda request: next(answers)),
    )  # fmt: skip
    rows = [pair.instruction for pair in PAIRS[:3]]
    scores = scorer.score(rows, ["a", "b", "c"])
    assert np.array_equal(scores, [9.0, np.nan, 2.0], equal_nan=True)
