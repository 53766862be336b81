"""The endpoint against a real server that fails on demand: retries, refusals, keys."""

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from farm.config import compose, plain
from farm.data.barnyard.source import Barnyard
from farm.data.records import make_pair
from farm.errors import ConfigError
from farm.types import Judgment, Pair
from simulators.chat.cached import Cached
from simulators.chat.endpoint import Endpoint
from simulators.chat.limits import Limits, Patience
from simulators.chat.prices import Price
from simulators.chat.types import Capabilities, ChatModel, EndpointError
from simulators.judges.asking import Sampling
from simulators.judges.judge import Judge
from simulators.judges.parsers import Letter
from simulators.recorder import Recorder
from simulators.serve import SERVE
from simulators.serving.app import make_app
from simulators.serving.background import serving

KEY = "sk-planted-0123456789abcdef"
QUICK = Patience(timeout_s=5.0, max_attempts=6, max_retry_s=60.0)


@contextmanager
def served(*overrides: str) -> Iterator[str]:
    with serving(make_app(plain(compose(overrides, SERVE)))) as base_url:
        yield base_url


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    world = Barnyard(sft=60, preference=0, unlabeled=0, validation=0, evaluation=0, held_out=0)
    rows = world.load()["sft"]
    others = [rows[i - 45].demonstration or "" for i in range(len(rows))]
    return [make_pair(r, r.demonstration or "", o) for r, o in zip(rows, others, strict=True)]


def endpoint(base_url: str, **settings: object) -> Endpoint:
    chosen: dict[str, object] = {
        "api_key_env": None,
        "capabilities": Capabilities(seed="run"),
        "limits": Limits(concurrency=8),
        "price": Price(1.0, 1.0),
        "patience": QUICK,
        **settings,
    }
    return Endpoint(model="clean", base_url=base_url, **chosen)  # type: ignore[arg-type]


def annotate(model: ChatModel, pairs: list[Pair]) -> list[Judgment]:
    judge = Judge(name="j", prompt="letter", parser=Letter(), sampling=Sampling(1), model=model)
    return judge.annotate(pairs, seed=0)


def stats(base_url: str) -> dict[str, int]:
    counts: dict[str, int] = httpx2.get(base_url.removesuffix("/v1") + "/stats").json()
    return counts


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (("faults.rate_429=0.4", "faults.retry_after_s=0.01"), "429"),
        (("faults.rate_500=0.3",), "500"),
        (("faults.rate_reset=0.3",), "reset"),
        (("faults.rate_timeout=0.2", "faults.hang_s=30"), "hung"),
    ],
)
def test_transient_failures_are_retried(
    fault: tuple[str, ...], kind: str, pairs: list[Pair]
) -> None:
    patience = Patience(timeout_s=0.5, max_attempts=12, max_retry_s=60.0)
    with served(*fault) as base_url:
        judgments = annotate(endpoint(base_url, patience=patience), pairs[:24])
        counts = stats(base_url)
    assert all(j.preference is not None for j in judgments)
    assert counts[kind] > 0
    assert counts["answered"] == 24


def test_retries_end_and_say_why(pairs: list[Pair]) -> None:
    patience = Patience(timeout_s=5.0, max_attempts=2, max_retry_s=60.0)
    with served("faults.rate_500=1.0") as base_url:
        judgments = annotate(endpoint(base_url, patience=patience), pairs[:3])
        assert stats(base_url)["500"] == 6
    assert all(j.preference is None for j in judgments)
    assert all("gave up after retries: InternalServerError" in (j.error or "") for j in judgments)


def test_a_refusal_stops_at_once_with_the_providers_message(pairs: list[Pair]) -> None:
    with served() as base_url:
        limits = Limits(concurrency=8)
        wrong = Endpoint(model="gpt-none", base_url=base_url, api_key_env=None, limits=limits)
        with pytest.raises(EndpointError, match=r"gpt-none at http.*refuses: NotFoundError.*clean"):
            annotate(wrong, pairs)
        assert stats(base_url)["refused"] <= 8  # those in flight, none of them twice


def test_a_spent_quota_is_a_refusal(pairs: list[Pair]) -> None:
    """It comes as a 429, like what passes."""
    body = b'{"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}'
    with (
        answering(body, 429, content_type="application/json") as base_url,
        pytest.raises(EndpointError, match="exceeded your quota"),
    ):
        annotate(endpoint(base_url), pairs[:2])


@contextmanager
def answering(body: bytes, status: int = 200, **headers: str) -> Iterator[str]:
    """A server that gives everybody the same answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>This is a web page.</html>", "text/html"),
        (b'{"id": "x", "choices": [{"mess', "application/json"),
        (b'{"error": "overloaded"}', "application/json"),
        (b'{"choices": [], "usage": null}', "application/json"),
    ],
)
def test_what_is_no_completion_is_retried_and_said(
    body: bytes, kind: str, pairs: list[Pair]
) -> None:
    patience = Patience(timeout_s=5.0, max_attempts=2)
    with answering(body, content_type=kind) as base_url:
        (judgment,) = annotate(endpoint(base_url, patience=patience), pairs[:1])
    assert "the answer is no chat completion" in (judgment.error or "")


def test_who_is_told_to_wait_for_a_day_does_not(pairs: list[Pair]) -> None:
    patience = Patience(timeout_s=5.0, max_attempts=8, max_retry_s=1.0)
    with answering(b'{"error": {"message": "tomorrow"}}', 429, retry_after="86400") as base_url:
        (judgment,) = annotate(endpoint(base_url, patience=patience), pairs[:1])
    assert "gave up after retries: RateLimitError" in (judgment.error or "")


def test_a_key_with_a_line_end_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PLANTED_KEY", f"{KEY}\n")
    with pytest.raises(ConfigError, match=r"PLANTED_KEY .*another character") as refused:
        endpoint("http://127.0.0.1:9/v1", api_key_env="PLANTED_KEY").check_key()
    assert KEY not in repr(refused.value)


def test_nobody_there_is_said(pairs: list[Pair]) -> None:
    patience = Patience(timeout_s=1.0, max_attempts=1)
    (judgment,) = annotate(endpoint("http://127.0.0.1:9/v1", patience=patience), pairs[:1])
    assert "APIConnectionError" in (judgment.error or "")


def test_a_server_that_is_down_ends_the_asking(pairs: list[Pair], tmp_path: Path) -> None:
    """Not after all pairs have been retried; what was answered before is kept."""
    patience = Patience(timeout_s=1.0, max_attempts=2, max_failures=5)
    path = str(tmp_path / "replies.sqlite")
    with served() as base_url:
        there = endpoint(base_url, patience=patience)
        annotate(Cached(model=there, path=path), pairs[:7])
    gone = endpoint(base_url, patience=patience)
    with pytest.raises(EndpointError, match=r"5 requests in a row failed .*APIConnectionError"):
        annotate(Cached(model=gone, path=path), pairs)
    assert all(j.cached for j in annotate(Cached(model=gone, path=path), pairs[:7]))


def test_the_requests_of_all_members_keep_to_the_rate(pairs: list[Pair]) -> None:
    """1,200 a minute on both sides: a client that keeps to it meets no 429 but for its burst."""
    with served("faults.requests_per_minute=1200") as base_url:
        limits = Limits(concurrency=16, requests_per_minute=1200)
        for _ in range(4):  # 240 requests, 200 of them at once
            annotate(endpoint(base_url, limits=limits), pairs)
        assert stats(base_url)["429"] == 0


def test_keys_appear_nowhere(
    pairs: list[Pair],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Neither in the error that quotes the wrong key, nor in logs, caches and recordings."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("PLANTED_KEY", KEY)
    monkeypatch.setenv("SERVER_KEY", "another")
    with served("api_key_env=SERVER_KEY") as base_url:
        wrong = endpoint(base_url, api_key_env="PLANTED_KEY")
        with pytest.raises(EndpointError, match=r"refuses: .*\[key\].*The key is wrong") as refused:
            annotate(wrong, pairs[:2])
    assert KEY not in str(refused.value) and refused.value.__cause__ is None
    monkeypatch.setenv("SERVER_KEY", KEY)
    with served("api_key_env=SERVER_KEY", "faults.rate_500=0.2") as base_url:
        right = endpoint(base_url, api_key_env="PLANTED_KEY")
        model = Cached(model=right, path=str(tmp_path / "replies.sqlite"))
        judge = Judge(name="j", prompt="letter", parser=Letter(), sampling=Sampling(1), model=model)
        path = str(tmp_path / "judgments.jsonl")
        judgments = Recorder(annotator=judge, path=path).annotate(pairs[:10], seed=0)
    assert all(judgment.preference is not None for judgment in judgments)
    sqlite3.connect(tmp_path / "replies.sqlite").execute("pragma wal_checkpoint")
    for path_ in tmp_path.rglob("*"):
        assert KEY.encode() not in path_.read_bytes(), path_
    assert KEY not in caplog.text
    assert KEY not in "".join(capfd.readouterr())
    assert KEY not in repr(judgments)


def test_a_missing_key_is_said_by_the_variables_name(
    pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(ConfigError, match="variable NO_SUCH_KEY"):
        annotate(endpoint("http://127.0.0.1:9/v1", api_key_env="NO_SUCH_KEY"), pairs[:1])
