"""The HTTP scorer against a real server that says what each test wants."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from farm.config import build, compose, plain
from farm.data.records import make_instruction, user_instruction
from farm.errors import ConfigError, DataError
from farm.scorers.http import HttpScorer, HttpScorerError
from farm.types import Message

KEY = "rm-planted-0123456789abcdef"
TURNS = [Message("system", "Be kind."), Message("user", "«Hi»")]
ASKED = [make_instruction(TURNS), *(user_instruction(f"count to {n}") for n in range(6))]
TEXTS = ["hello", *("one two three four five six seven"[: 6 * n] for n in range(6))]


class Server(ThreadingHTTPServer):
    """Scores an answer by its length, unless there is something `planned` to say first."""

    daemon_threads = True

    def __init__(self) -> None:
        self.planned: list[tuple[int, dict[str, str], bytes] | None] = []
        """Status, headers and body each; None drops the connection."""
        self.bodies: list[Any] = []
        self.keys: list[str | None] = []
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/score"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.bodies.append(body)
        self.server.keys.append(self.headers["authorization"])
        scores = [len(row["answer"]) or None for row in body["answers"]]
        normal = (200, {}, json.dumps({"scores": scores}).encode())
        said = self.server.planned.pop(0) if self.server.planned else normal
        if said is None:
            self.close_connection = True
            return
        status, headers, answer = said
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(answer))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
        yield found
        found.shutdown()


def test_it_posts_batches_and_null_means_it_does_not_apply(server: Server) -> None:
    scores = HttpScorer(server.url, batch_size=3).score(ASKED, TEXTS)
    np.testing.assert_array_equal(scores, [5, np.nan, 6, 12, 18, 24, 30])
    assert [len(body["answers"]) for body in server.bodies] == [3, 3, 1]
    assert server.bodies[0]["answers"][0] == {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "«Hi»"},
        ],
        "answer": "hello",
    }
    assert server.keys == [None] * 3
    assert HttpScorer(server.url).score([], []).shape == (0,)


def test_transient_failures_are_retried(server: Server) -> None:
    soon = {"retry-after": "0.01"}
    server.planned = [(429, soon, b"slow down"), (503, soon, b"starting"), None]
    scores = HttpScorer(server.url, max_retry_s=30.0).score(ASKED[:1], TEXTS[:1])
    assert scores.tolist() == [5]
    assert len(server.bodies) == 4


def test_a_server_that_hangs_is_asked_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, answer = threading.Event(), Handler.do_POST

    def hang_once(handler: Handler) -> None:
        if not server.bodies:
            server.bodies.append(None)
            released.wait(30)
            return
        answer(handler)

    monkeypatch.setattr(Handler, "do_POST", hang_once)
    try:
        scores = HttpScorer(server.url, timeout_s=0.3).score(ASKED[:1], TEXTS[:1])
    finally:
        released.set()
    assert scores.tolist() == [5]


@pytest.mark.parametrize("status", [307, 400, 401, 404, 422])
def test_a_refusal_stops_at_once_with_the_servers_message(server: Server, status: int) -> None:
    server.planned = [(status, {"retry-after": "1"}, b"no such \n model: goose")]
    with pytest.raises(HttpScorerError, match=f"refuses: status {status}, 'no such model: goose'"):
        HttpScorer(server.url, batch_size=1).score(ASKED, TEXTS)
    assert len(server.bodies) == 1


def test_patience_ends(server: Server) -> None:
    server.planned = [(503, {"retry-after": "0.05"}, b"starting")] * 1000
    with pytest.raises(HttpScorerError, match=r"still fails after retries: status 503, 'starting'"):
        HttpScorer(server.url, max_retry_s=0.5).score(ASKED[:1], TEXTS[:1])
    assert 2 <= len(server.bodies) <= 11


def test_who_is_told_to_wait_for_a_day_does_not(server: Server) -> None:
    server.planned = [(429, {"retry-after": "86400"}, b"tomorrow")]
    with pytest.raises(HttpScorerError, match="tomorrow"):
        HttpScorer(server.url).score(ASKED[:1], TEXTS[:1])
    assert len(server.bodies) == 1


def test_nobody_there_is_said() -> None:
    with pytest.raises(HttpScorerError, match="does not answer: ConnectError"):
        HttpScorer("http://127.0.0.1:9/score", max_retry_s=0.0).score(ASKED[:1], TEXTS[:1])


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"<html>Welcome</html>", "<html>Welcome</html>"),
        (b'{"score": [1.0, 2.0]}', '{"score": '),
        (b'[{"scores": [1.0, 2.0]}]', "right would be"),
        (b'{"scores": 1.0}', "`scores` = '1.0'"),
        (b'{"scores": [1.0]}', "1 scores for 2 answers"),
        (b'{"scores": [1.0, "high"]}', "high.* as score 1"),
        (b'{"scores": [true, 1.0]}', "True' as score 0"),
        (b'{"scores": [1.0, NaN]}', "nan' as score 1"),
        (b'{"scores": [1.0, 1e999]}', "inf' as score 1"),
        (b'{"scores": [' + b"9" * 400 + b", 1.0]}", "9' as score 0|9...' as score 0"),
        (b"[" * 100_000, "right would be"),
    ],
)
def test_other_forms_are_data_errors(server: Server, answer: bytes, problem: str) -> None:
    server.planned = [(200, {}, answer)]
    with pytest.raises(DataError, match=problem) as found:
        HttpScorer(server.url).score(ASKED[:2], TEXTS[:2])
    assert len(str(found.value)) < 600
    assert len(server.bodies) == 1


def test_the_key_goes_along_and_appears_nowhere(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("PLANTED_KEY", KEY)
    scorer = HttpScorer(server.url, api_key_env="PLANTED_KEY")
    scorer.check_key()
    assert scorer.score(ASKED[:1], TEXTS[:1]).tolist() == [5]
    assert server.keys == [f"Bearer {KEY}"]
    echo = f"invalid key {KEY}".encode()
    server.planned = [(401, {}, echo), (200, {}, echo), (200, {}, b'{"scores": ["%s"]}' % echo)]
    for _ in range(3):
        with pytest.raises((HttpScorerError, DataError), match=r"invalid key \[key\]") as refused:
            scorer.score(ASKED[:1], TEXTS[:1])
        assert KEY not in str(refused.value) and refused.value.__cause__ is None
    assert KEY not in caplog.text and KEY not in repr(vars(scorer))


@pytest.mark.parametrize(("value", "problem"), [(None, "holds no key"), (f"{KEY}\n", "another")])
def test_a_key_that_cannot_be_one_is_refused_without_showing_it(
    value: str | None, problem: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PLANTED_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("PLANTED_KEY", value)
    scorer = HttpScorer(server.url, api_key_env="PLANTED_KEY")
    for use in (scorer.check_key, lambda: scorer.score(ASKED[:1], TEXTS[:1])):
        with pytest.raises(ConfigError, match=f"PLANTED_KEY .*{problem}") as refused:
            use()
        assert KEY not in str(refused.value)
    assert server.bodies == []


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://here/score", "http://", "http://here:port/", "http://[1/"]
)
def test_urls_are_checked(url: str) -> None:
    with pytest.raises(ConfigError, match="url="):
        HttpScorer(url)


def test_a_url_with_a_password_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigError, match="user or password") as refused:
        HttpScorer("http://me:hunter2@here/score")
    assert "hunter2" not in str(refused.value)


def test_the_choice_of_the_configuration_scores(server: Server) -> None:
    chosen = plain(compose(["reward=http", f"reward.url={server.url}"]))["reward"]
    assert build(chosen).score(ASKED[:1], TEXTS[:1]).tolist() == [5]
