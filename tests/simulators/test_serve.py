"""Annotators over HTTP: the same judgments as in process, and faults that clients can tell."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai")
import httpx2
import openai

from farm.config import build, cli, compose, plain
from farm.data.barnyard.source import Barnyard
from farm.data.records import make_pair, user_instruction
from farm.errors import ConfigError
from farm.protocols import Annotator
from farm.types import Judgment, Pair
from simulators.chat.endpoint import Endpoint
from simulators.chat.types import Capabilities, EndpointError, Reply
from simulators.judges.asking import Sampling
from simulators.judges.judge import Judge
from simulators.judges.parsers import (
    JsonVerdicts,
    Letter,
    Numbered,
    Parser,
    Ratings,
    Reasoned,
    Verdict,
)
from simulators.judges.ranking import RankingJudge
from simulators.judges.template import load_template, pairs_material
from simulators.serve import SERVE, task
from simulators.serving.app import make_app
from simulators.serving.background import serving
from simulators.serving.faults import Fate, Faults

FREE = {"input_usd_per_million": 0, "output_usd_per_million": 0}


@contextmanager
def served(*overrides: str) -> Iterator[str]:
    with serving(make_app(plain(compose(overrides, SERVE)))) as base_url:
        yield base_url


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with served() as url:
        yield url


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    """Demonstrations against those of other instructions."""
    world = Barnyard(sft=100, preference=0, unlabeled=0, validation=0, evaluation=0, held_out=0)
    rows = world.load()["sft"]
    others = [rows[i - 45].demonstration or "" for i in range(len(rows))]
    return [make_pair(r, r.demonstration or "", o) for r, o in zip(rows, others, strict=True)]


@pytest.fixture(scope="module")
def clean() -> Annotator:
    annotator = build(compose((), SERVE).annotators.clean)
    assert isinstance(annotator, Annotator)
    return annotator


def client(base_url: str, **settings: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=base_url, **{"api_key": "none", "max_retries": 0, **settings})


def ask(base_url: str, pair: Pair, model: str = "clean", **settings: Any) -> Any:
    """The reply of OpenAI's client to the prompt `letter`."""
    parser = Letter()
    template = load_template("letter", parser.labels._asdict())
    messages: Any = [
        {"role": m.role, "content": m.content}
        for m in template.messages(pairs_material([pair], parser.labels))
    ]
    timeout = settings.pop("timeout", None)
    return client(base_url, timeout=timeout).chat.completions.create(
        model=model, messages=messages, **settings
    )


def endpoint(base_url: str, model: str = "clean", **capabilities: Any) -> Endpoint:
    return Endpoint(
        model=model,
        base_url=base_url,
        api_key_env=None,
        capabilities=Capabilities(seed="run", **capabilities),
        price=FREE,  # type: ignore[arg-type]  # as a yaml would give it
    )


def judge(model: Endpoint, prompt: str, parser: Parser, pairs_per_request: int = 1) -> Judge:
    return Judge(
        name="http",
        prompt=prompt,
        parser=parser,
        sampling=Sampling(max_tokens=500),
        model=model,
        pairs_per_request=pairs_per_request,
    )


def stats(base_url: str) -> dict[str, int]:
    counts: dict[str, int] = httpx2.get(base_url.removesuffix("/v1") + "/stats").json()
    return counts


# ------------------------------------------------------------------------------- what is said


def test_models_are_the_annotators_and_their_members(base_url: str) -> None:
    names = [model.id for model in client(base_url).models.list()]
    assert names[:2] == ["clean", "train"]
    assert set(names[2:]) == {"careful", "thorough", "brisk", "tidy", "trusting", "warm"}


def test_unknown_model(base_url: str, pairs: list[Pair]) -> None:
    with pytest.raises(openai.NotFoundError, match=r"gpt-9.*clean, train, careful"):
        ask(base_url, pairs[0], "gpt-9")


@pytest.mark.parametrize(
    ("prompt", "parser", "pairs_per_request"),
    [
        ("letter", Letter(), 1),
        ("reasoned", Reasoned(), 1),
        ("numbered", Numbered(), 4),
        ("numbered", Numbered(), 1),
        ("json", JsonVerdicts(), 4),
        ("ratings", Ratings(), 1),
    ],
)
@pytest.mark.parametrize("system_role", [True, False])
def test_judgments_are_those_in_process(
    base_url: str,
    pairs: list[Pair],
    clean: Annotator,
    prompt: str,
    parser: Parser,
    pairs_per_request: int,
    system_role: bool,
) -> None:
    model = endpoint(base_url, system_role=system_role)
    judgments = judge(model, prompt, parser, pairs_per_request).annotate(pairs, seed=3)
    expected = clean.annotate(pairs, seed=3)
    assert [j.preference for j in judgments] == [j.preference for j in expected]
    assert {j.preference for j in judgments} >= {0.0, 1.0}


def test_another_draw_is_that_in_process(
    base_url: str, pairs: list[Pair], clean: Annotator
) -> None:
    over_http = judge(endpoint(base_url), "reasoned", Reasoned())
    first, second = (over_http.annotate(pairs, seed=3, draw=draw) for draw in (0, 1))
    expected = clean.annotate(pairs, seed=3, draw=1)
    assert [j.preference for j in second] == [j.preference for j in expected]
    assert [j.preference for j in first] != [j.preference for j in second]


def test_a_ranking_of_two_is_a_judgment(base_url: str, pairs: list[Pair], clean: Annotator) -> None:
    ranking = RankingJudge(
        name="ranks",
        prompt="ranking",
        sampling=Sampling(max_tokens=50),
        model=endpoint(base_url),
    ).annotate(pairs, seed=3)
    expected = clean.annotate(pairs, seed=3)
    assert [j.preference for j in ranking] == [j.preference for j in expected]


def test_log_probabilities_are_the_preference(base_url: str, pairs: list[Pair]) -> None:
    choice = ask(base_url, pairs[0], logprobs=True, top_logprobs=5).choices[0]
    [first] = choice.logprobs.content
    assert [(t.token, t.logprob) for t in first.top_logprobs] == [(choice.message.content, 0.0)]
    assert ask(base_url, pairs[0]).choices[0].logprobs is None


class Undecided:
    """Prefers the second answer with probability p."""

    def __init__(self, p: float) -> None:
        self._p = p

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        return [Judgment(pair.id, self._p, "undecided", "ab") for pair in pairs]


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_soft_preferences_come_through(p: float, pairs: list[Pair]) -> None:
    annotators = {"clean": {"_target_": f"{__name__}.Undecided", "p": p}}
    with serving(make_app({**plain(compose((), SERVE)), "annotators": annotators})) as url:
        [judgment] = judge(endpoint(url), "letter", Letter()).annotate(pairs[:1], seed=0)
        content = ask(url, pairs[0]).choices[0].message.content
    assert judgment.preference == pytest.approx(p)
    assert content == ("Q" if p > 0.5 else "P")


def test_a_pair_that_nobody_can_judge(base_url: str) -> None:
    pair = make_pair(user_instruction("what is 3 + 4 ?"), "7", "8")
    reply = ask(base_url, pair, logprobs=True, top_logprobs=5)
    assert reply.choices[0].message.content == "I cannot tell."
    assert reply.usage.completion_tokens == len("I cannot tell.") // 4


def test_the_seed_decides(base_url: str, pairs: list[Pair]) -> None:
    def said(**settings: Any) -> list[str]:
        replies = (ask(base_url, pair, "thorough", **settings) for pair in pairs[:20])
        return [reply.choices[0].message.content for reply in replies]

    assert said() == said(seed=0) == said(seed=0)


def test_an_llm_judge_is_served_too(
    base_url: str, pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    strong = "endpoints.strong.model"
    here = [f"{strong}.base_url={base_url}", f"{strong}.model=clean", f"{strong}.api_key_env=null"]
    with served("annotators=judge", f"runs_dir={tmp_path}", *here) as url:
        assert ask(url, pairs[0], "judge").choices[0].message.content in ("P", "Q")
    no_key = pytest.raises(openai.BadRequestError, match="OPENAI_API_KEY")
    with served("annotators=judge", f"runs_dir={tmp_path}") as url, no_key:
        ask(url, pairs[0])


# ------------------------------------------------------------------------ what is not answered


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"{", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b'{"messages": []}', "`model` is missing"),
        (b'{"model": "clean"}', "`messages` must be"),
        (b'{"model": "clean", "messages": [{"role": "user"}]}', "`messages` must be"),
        (b'{"model": "clean", "stream": true}', "leave out `stream`"),
        (b'{"model": "clean", "n": 2}', "`n` above 1"),
        (b'{"model": "clean", "seed": "x"}', "whole numbers"),
    ],
)
def test_bodies_that_are_no_requests(base_url: str, body: bytes, problem: str) -> None:
    response = httpx2.post(f"{base_url}/chat/completions", content=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert problem in error["message"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_request")


def test_prompts_that_are_not_understood(base_url: str) -> None:
    system = load_template("letter", {"first": "P", "second": "Q"}).system
    for content, problem in (("hello", "letter, reasoned"), (f"{system}\n\nhello", "must show")):
        messages: Any = [{"role": "user", "content": content}]
        with pytest.raises(openai.BadRequestError, match=problem):
            client(base_url).chat.completions.create(model="clean", messages=messages)


def test_a_wrong_key_is_quoted(monkeypatch: pytest.MonkeyPatch, pairs: list[Pair]) -> None:
    with pytest.raises(ConfigError, match="SERVE_KEY"):
        make_app(plain(compose(["api_key_env=SERVE_KEY"], SERVE)))
    monkeypatch.setenv("SERVE_KEY", "right")
    with served("api_key_env=SERVE_KEY") as url:
        assert client(url, api_key="right").models.list().data
        with pytest.raises(openai.AuthenticationError, match="sk-wrong") as caught:
            client(url, api_key="sk-wrong").models.list()
        assert caught.value.code == "invalid_api_key"
        monkeypatch.setenv("CLIENT_KEY", "sk-wrong")
        wrong = Endpoint(model="clean", base_url=url, api_key_env="CLIENT_KEY", price=None)
        with pytest.raises(EndpointError) as refused:
            judge(wrong, "letter", Letter()).annotate(pairs[:2], seed=0)
        assert "sk-wrong" not in str(refused.value)


# -------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("faults", "error", "counted"),
    [
        (["faults.rate_429=1", "faults.retry_after_s=0.5"], openai.RateLimitError, "429"),
        (["faults.rate_500=1"], openai.InternalServerError, "500"),
        (["faults.rate_timeout=1"], openai.APITimeoutError, "hung"),
        (["faults.rate_timeout=1", "faults.hang_s=0.1"], openai.APIConnectionError, "hung"),
        (["faults.rate_reset=1"], openai.APIConnectionError, "reset"),
    ],
)
def test_faults_are_what_clients_take_them_for(
    faults: list[str], error: type[Exception], counted: str, pairs: list[Pair]
) -> None:
    with served(*faults) as url:
        with pytest.raises(error) as caught:
            ask(url, pairs[0], timeout=0.5)
        assert type(caught.value) is error
        assert stats(url)[counted] == 1
    if isinstance(caught.value, openai.RateLimitError):
        assert caught.value.response.headers["retry-after"] == "0.5"


def test_garbage_is_the_same_at_each_attempt(pairs: list[Pair]) -> None:
    with served("faults.rate_garbage=0.5") as url:
        first, again = (
            [ask(url, pair).choices[0].message.content for pair in pairs[:40]] for _ in range(2)
        )
        counts = stats(url)
    assert first == again
    garbage = [text for text in first if text not in ("P", "Q")]
    assert 10 < len(garbage) < 30
    assert all(v.preference is None for text in garbage for v in parsed(text))
    assert (counts["garbage"], counts["bodies_answered_again"]) == (2 * len(garbage), 40)


def parsed(text: str) -> list[Verdict]:
    parsers: list[Parser] = [Letter(), Reasoned(), Numbered(), JsonVerdicts(), Ratings()]
    return [verdict for parser in parsers for verdict in parser.parse(Reply(text), 1)]


def test_retries_get_through(pairs: list[Pair], clean: Annotator) -> None:
    rates = [f"faults.rate_{kind}=0.06" for kind in ("429", "500", "timeout", "reset")]
    with served("faults.hang_s=0.05", "faults.retry_after_s=0", *rates) as url:
        judgments = judge(endpoint(url), "reasoned", Reasoned()).annotate(pairs, seed=3)
        counts = stats(url)
    expected = clean.annotate(pairs, seed=3)
    assert [j.preference for j in judgments] == [j.preference for j in expected]
    assert counts["answered"] == sum(pair.output_a != pair.output_b for pair in pairs)
    assert counts["bodies_answered_again"] == 0
    assert min(counts[kind] for kind in ("429", "500", "hung", "reset")) > 0


def test_faults_repeat_themselves() -> None:
    def fates(seed: int) -> list[str]:
        fate = Fate(Faults(rate_429=0.3, rate_reset=0.3, rate_garbage=0.3), seed)
        return [fate.decide(bytes(n % 10)) for n in range(100)]

    assert fates(1) == fates(1) != fates(2)
    assert set(fates(1)) == {"429", "reset", "answered", "garbage"}


def test_requests_per_minute_are_a_token_bucket() -> None:
    now = [0.0]
    fate = Fate(Faults(requests_per_minute=60), 0, clock=lambda: now[0])
    assert [fate.decide(b"x") for _ in range(17)] == ["answered"] * 15 + ["429"] * 2
    now[0] = 2.0
    assert [fate.decide(b"x") for _ in range(3)] == ["answered"] * 2 + ["429"]


# --------------------------------------------------------------------------------- the command


@contextmanager
def command(*overrides: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "simulators.serve", "port=0", *overrides],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_command_serves_until_interrupted(pairs: list[Pair]) -> None:
    with command("annotators=barnyard", "faults.rate_timeout=0.5") as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        answers, hung = 0, 0
        for pair in pairs[:10]:
            try:
                answers += ask(url, pair, timeout=0.5).choices[0].message.content in ("P", "Q")
            except openai.APITimeoutError:
                hung += 1
        assert answers and hung
        body = json.dumps({"model": "clean"}).encode()
        held = [_open_request(url, body + b" " * n) for n in range(8)]
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        for connection in held:
            connection.close()
    assert (process.returncode, errors) == (130, "interrupted\n")


def _open_request(url: str, body: bytes) -> Any:
    """A connection whose request may still be held when the server is told to end."""
    import http.client

    connection = http.client.HTTPConnection(url.split("/")[2])
    connection.request("POST", "/v1/chat/completions", body)
    return connection


def test_a_mistyped_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(task, ["faults.rate_42=0.1"], SERVE) == 2
    assert "rate_429" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("port=70000", "port=70000: give a number from 0"),
        ("seed=-1", "seed=-1"),
        ("faults.rate_500=1.5", "at most 1"),
        ("faults.latency_s=-1", "faults.latency_s=-1: give"),
        ("faults.requests_per_minute=0", "faults.requests_per_minute: give 1 or more"),
        ("annotators.clean.annotator.annotators.1.name=careful", "name=careful"),
    ],
)
def test_values_that_make_no_sense(
    override: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli(task, [override], SERVE) == 2
    assert problem in capsys.readouterr().err


def test_a_port_in_use(base_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    port = base_url.split(":")[2].split("/")[0]
    assert cli(task, [f"port={port}"], SERVE) == 2
    assert f"port={port}: cannot listen there: Address already in use" in capsys.readouterr().err
