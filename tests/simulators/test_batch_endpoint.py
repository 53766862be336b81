"""Judges over the Batch API: the real client against a server on loopback."""

import logging
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from farm.config import build, compose, plain, unpaid
from farm.data.barnyard.source import Barnyard
from farm.data.records import make_pair
from farm.errors import ConfigError
from farm.heartbeat import listening
from farm.types import Judgment, Message, Pair
from simulators.chat import batch_endpoint
from simulators.chat.batch_endpoint import BatchEndpoint, Batches
from simulators.chat.cached import Cached
from simulators.chat.endpoint import Endpoint
from simulators.chat.limits import Limits, Patience
from simulators.chat.loop import ask_all
from simulators.chat.prices import Price
from simulators.chat.quote import NOT_ASKED
from simulators.chat.types import Capabilities, ChatModel, ChatRequest, EndpointError, Reply
from simulators.judges.asking import Sampling
from simulators.judges.judge import Judge
from simulators.judges.parsers import Letter
from simulators.serve import SERVE
from simulators.serving.app import make_app
from simulators.serving.background import serving

KEY = "sk-planted-0123456789abcdef"
ANNOTATE = """
import sys
from tests.simulators.test_batch_endpoint import annotate, barnyard_pairs, endpoint
judgments = annotate(endpoint(sys.argv[1], sys.argv[2]), barnyard_pairs())
print(sum(judgment.preference is not None for judgment in judgments))
"""


@contextmanager
def served(*overrides: str) -> Iterator[str]:
    with serving(make_app(plain(compose(overrides, SERVE)))) as base_url:
        yield base_url


def barnyard_pairs() -> list[Pair]:
    world = Barnyard(sft=120, preference=0, unlabeled=0, validation=0, evaluation=0, held_out=0)
    rows = world.load()["sft"]
    answers = [row.demonstration or "" for row in rows]
    shown = [make_pair(row, answers[i], answers[i - 45]) for i, row in enumerate(rows)]
    return [pair for pair in shown if pair.output_a != pair.output_b][:100]  # none is a tie


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return barnyard_pairs()


def endpoint(base_url: str, state: Path | str, **settings: Any) -> BatchEndpoint:
    chosen = {
        "model": "clean",
        "api_key_env": None,
        "capabilities": Capabilities(seed="run"),
        "price": Price(1.0, 1.0),
        "patience": Patience(timeout_s=5.0, max_attempts=8, max_retry_s=60.0),
        **settings,
    }
    limit = chosen.pop("max_requests", 50_000)
    batches = Batches(str(state), poll_s=0.1, max_requests=limit)
    return BatchEndpoint(base_url=base_url, batches=batches, **chosen)


def annotate(model: ChatModel, pairs: list[Pair]) -> list[Judgment]:
    judge = Judge(name="j", prompt="letter", parser=Letter(), sampling=Sampling(1), model=model)
    return judge.annotate(pairs, seed=0)


def asked(model: ChatModel, requests: list[ChatRequest]) -> list[Reply]:
    replies: dict[int, Reply] = {}
    ask_all(model, requests, len(requests), replies.__setitem__)
    return [replies[i] for i in range(len(requests))]


def stats(base_url: str) -> dict[str, int]:
    counts: dict[str, int] = httpx2.get(base_url.removesuffix("/v1") + "/stats").json()
    return counts


def test_the_judgments_of_chat_completions_in_one_batch_at_half_the_price(
    pairs: list[Pair], tmp_path: Path
) -> None:
    limits, capabilities = Limits(concurrency=8), Capabilities(seed="run")
    with served() as base_url:
        single = Endpoint(
            model="clean", base_url=base_url, api_key_env=None, price=Price(1.0, 1.0),
            limits=limits, capabilities=capabilities,
        )  # fmt: skip
        expected = annotate(single, pairs)
        assert stats(base_url)["batches"] == 0
        judgments = annotate(endpoint(base_url, tmp_path), pairs)
        assert stats(base_url)["batches"] == 1
    assert [j.preference for j in judgments] == [j.preference for j in expected]
    assert sum(j.preference is not None for j in judgments) == len(pairs) == 100
    assert [j.usage for j in judgments] == [j.usage for j in expected]
    halves = [None if j.cost_usd is None else j.cost_usd / 2 for j in expected]
    assert [j.cost_usd for j in judgments] == pytest.approx(halves)


def test_equal_requests_share_a_line_and_full_batches_leave(tmp_path: Path) -> None:
    requests = [ChatRequest((Message("user", f"{n % 3}"),), {"max_tokens": 1}) for n in range(12)]
    with served() as base_url:
        whole = asked(endpoint(base_url, tmp_path), requests)
        assert stats(base_url)["refused"] == 3
        asked(endpoint(base_url, tmp_path / "small", max_requests=6), requests)
        assert stats(base_url)["batches"] == 1 + 2
    assert all("unknown_prompt" in (reply.error or "") for reply in whole)
    assert whole[0] is whole[3]


def test_large_files_are_divided(
    pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_endpoint, "_MAX_BYTES", 60_000)
    with served() as base_url:
        judgments = annotate(endpoint(base_url, tmp_path), pairs)
        assert stats(base_url)["batches"] > 1
    assert all(judgment.preference is not None for judgment in judgments)


def test_transient_failures_are_retried(pairs: list[Pair], tmp_path: Path) -> None:
    faults = ("faults.rate_429=0.4", "faults.retry_after_s=0.01", "faults.rate_reset=0.2")
    with served("batch_s=1", *faults) as base_url:
        judgments = annotate(endpoint(base_url, tmp_path), pairs)
        counts = stats(base_url)
    assert all(judgment.preference is not None for judgment in judgments)
    assert counts["429"] > 0 and counts["reset"] > 0 and counts["batches"] == 1


def test_a_killed_process_is_continued_by_the_next(pairs: list[Pair], tmp_path: Path) -> None:
    with served("batch_s=6") as base_url:
        command = [sys.executable, "-c", ANNOTATE, base_url, str(tmp_path)]
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("*.json")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert (stats(base_url)["batches"], stats(base_url)["answered"]) == (1, 0)
        again = subprocess.run(
            command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60
        )
        assert again.stdout.strip() == "100", again.stderr
        counts = stats(base_url)
    assert (counts["batches"], counts["answered"], counts["bodies_answered_again"]) == (1, 100, 0)


def test_a_part_of_what_was_submitted_is_found_too(pairs: list[Pair], tmp_path: Path) -> None:
    """As when the process died while a cache was taking the answers in. New requests join."""
    with served() as base_url:
        annotate(endpoint(base_url, tmp_path), pairs[:60])
        assert list(tmp_path.glob("*.json"))  # not yet dropped
        judgments = annotate(endpoint(base_url, tmp_path), pairs[40:])
        counts = stats(base_url)
        time.sleep(1.5)
    assert all(judgment.preference is not None for judgment in judgments)
    assert (counts["batches"], counts["bodies_answered_again"]) == (2, 0)
    assert not list(tmp_path.iterdir())


def test_a_batch_on_record_that_cannot_be_had_is_made_anew(
    pairs: list[Pair], tmp_path: Path
) -> None:
    with served() as base_url:
        annotate(endpoint(base_url, tmp_path), pairs[:5])
        records = list(tmp_path.glob("*.json"))
    assert records
    with served() as base_url:  # another server, which knows no such batch
        judgments = annotate(endpoint(base_url, tmp_path), pairs[:5])
        assert stats(base_url)["batches"] == 1
    assert all(judgment.preference is not None for judgment in judgments)


def test_a_refused_batch_says_why_and_is_forgotten(pairs: list[Pair], tmp_path: Path) -> None:
    with served() as base_url:
        for batches in (1, 2):
            with pytest.raises(EndpointError, match=r"gpt-none.*refuses the batch.*does not exist"):
                annotate(endpoint(base_url, tmp_path, model="gpt-none"), pairs[:3])
            assert stats(base_url)["batches"] == batches
    assert not list(tmp_path.iterdir())


def test_nobody_there_is_said(pairs: list[Pair], tmp_path: Path) -> None:
    patience = Patience(timeout_s=1.0, max_attempts=1)
    nobody = endpoint("http://127.0.0.1:9/v1", tmp_path, patience=patience)
    (judgment,) = annotate(nobody, pairs[:1])
    assert "gave up after retries: APIConnectionError" in (judgment.error or "")


@pytest.mark.parametrize("status", ["expired", "cancelled"])
def test_what_was_not_reached_in_time(status: str, tmp_path: Path) -> None:
    """An answered line and one that expired; of a third request there is none."""
    from openai.types import Batch

    model = endpoint("http://127.0.0.1:9/v1", tmp_path)
    requests = [ChatRequest((Message("user", f"{n}"),)) for n in range(3)]
    files = Files([batch_endpoint.request_key(model.server, request) for request in requests])
    batch = Batch.construct(
        id="b", status=status, created_at=5, output_file_id="out", error_file_id="errors"
    )
    files.batch = batch
    model.__dict__["_client"] = files
    answered, expired, missing = asked(model, requests)
    assert (answered.text, answered.cost_usd, answered.error) == ("P", 1e-6, None)
    assert expired.error == "refused: batch_expired: Too late."
    assert missing.error == f"no answer came; the batch b is {status}"


class Files:
    """Stands for a client whose batch has ended early."""

    batch: Any

    def __init__(self, keys: list[str]) -> None:
        self.files = self.batches = self
        message = {"role": "assistant", "content": "P"}
        body = {
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            "service_tier": "of another day",
        }
        late = {"code": "batch_expired", "message": "Too late."}
        self._rows = {
            "out": {"custom_id": keys[0], "response": {"status_code": 200, "body": body}},
            "errors": {"custom_id": keys[1], "response": None, "error": late},
        }

    async def create(self, **settings: Any) -> Any:
        return self.batch

    async def retrieve(self, batch_id: str) -> Any:
        return self.batch

    async def content(self, file_id: str) -> httpx2.Response:
        return httpx2.Response(200, json=self._rows[file_id])


def test_a_batch_under_way_gives_signs_of_life(pairs: list[Pair], tmp_path: Path) -> None:
    class Beats:
        done: list[int] = []  # noqa: RUF012

        def beat(self, done: int, metrics: object) -> None:
            self.done.append(done)

        def note(self, text: str) -> None: ...

    with served("batch_s=1") as base_url, listening(Beats()):
        annotate(endpoint(base_url, tmp_path), pairs[:4])
    assert Beats.done.count(0) >= 4 and sum(Beats.done) == 4


def test_a_dry_run_asks_nobody_and_says_half_the_price(
    pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def quoted(endpoints: str) -> list[Judgment]:
        config = compose([f"runs_dir={tmp_path}", f"endpoints={endpoints}"], SERVE)
        return annotate(build(unpaid(config.endpoints.strong)), pairs)

    dear, cheap = quoted("openai"), quoted("openai_batch")
    assert all(j.error == NOT_ASKED for j in cheap)
    assert [j.usage for j in cheap] == [j.usage for j in dear]
    costs = [sum(j.cost_usd or 0.0 for j in judgments) for judgments in (dear, cheap)]
    assert costs[1] == pytest.approx(costs[0] / 2) and costs[1] > 0
    assert not (tmp_path / "batches").exists()


def test_keys_appear_nowhere(
    pairs: list[Pair],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("PLANTED_KEY", KEY)
    monkeypatch.setenv("SERVER_KEY", "another")
    state = tmp_path / "batches"
    refusal = pytest.raises(EndpointError, match=r"refuses: .*\[key\].*The key is wrong")
    with served("api_key_env=SERVER_KEY") as base_url, refusal as refused:
        annotate(endpoint(base_url, state, api_key_env="PLANTED_KEY"), pairs[:2])
    assert KEY not in str(refused.value) and refused.value.__cause__ is None
    monkeypatch.setenv("SERVER_KEY", KEY)
    with served("api_key_env=SERVER_KEY") as base_url:
        right = endpoint(base_url, state, api_key_env="PLANTED_KEY")
        judgments = annotate(Cached(model=right, path=str(tmp_path / "r.sqlite")), pairs[:10])
    assert all(judgment.preference is not None for judgment in judgments)
    sqlite3.connect(tmp_path / "r.sqlite").execute("pragma wal_checkpoint")
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.parent == state for path in kept)
    assert not any(KEY.encode() in path.read_bytes() for path in kept)
    assert KEY not in caplog.text
    assert KEY not in "".join(capfd.readouterr())
    assert KEY not in repr(judgments)


@pytest.mark.parametrize("wrong", [{"discount": 1.5}, {"poll_s": 0.0}, {"max_requests": 0}])
def test_values_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        Batches("folder", **wrong)
