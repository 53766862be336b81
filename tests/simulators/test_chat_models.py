"""Caches, budgets, limits and prices of chat models."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from fake_model import Answer, FakeModel

from farm.errors import ConfigError, DataError
from farm.heartbeat import listening
from farm.types import Message
from simulators.chat.budget import SPENT, Budget
from simulators.chat.cached import Cached, request_key
from simulators.chat.endpoint import Endpoint
from simulators.chat.limits import Limits, Pace
from simulators.chat.loop import ask_all, run, side_by_side
from simulators.chat.prices import Price, price_table
from simulators.chat.replies import ReplyFile
from simulators.chat.types import ChatModel, ChatRequest, EndpointError, Reply

WITH_TESTS = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
"""The environment of processes that import what stands beside this file."""


def requests(count: int, draw: int = 0) -> list[ChatRequest]:
    return [
        ChatRequest((Message("user", f"question {n}"),), {"max_tokens": 5}, draw)
        for n in range(count)
    ]


def ask(model: ChatModel, asked: Sequence[ChatRequest]) -> list[Reply]:
    replies: dict[int, Reply] = {}
    ask_all(model, asked, len(asked), replies.__setitem__)
    return [replies[n] for n in range(len(asked))]


class Notes:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def beat(self, done: int, metrics: object) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)


# --------------------------------------------------------------------------------------- cache


def test_a_rerun_costs_nothing_and_says_the_same(tmp_path: Path) -> None:
    path = str(tmp_path / "deep" / "replies.sqlite")
    counter = iter(range(1000))
    first = FakeModel(lambda request: f"answer {next(counter)}")
    original = ask(Cached(model=first, path=path), requests(20))
    second = FakeModel(lambda request: "never asked")
    again = ask(Cached(model=second, path=path), requests(20))
    assert second.asked == []
    assert [r.text for r in again] == [r.text for r in original]
    assert all(r.cached and r.usage and r.cost_usd == original[0].cost_usd for r in again)
    assert not any(r.cached for r in original)


def test_draws_settings_and_models_are_asked_anew(tmp_path: Path) -> None:
    path = str(tmp_path / "replies.sqlite")
    model = FakeModel(lambda request: "x")
    cached = Cached(model=model, path=path)
    (request,) = requests(1)
    ask(cached, [request, *requests(1, draw=1), ChatRequest(request.messages, {"max_tokens": 6})])
    assert len(model.asked) == 3
    model.server = "another"  # another model, or the same name at another address
    ask(Cached(model=model, path=path), [request])
    assert len(model.asked) == 4


def test_the_same_request_twice_in_one_list_is_asked_once(tmp_path: Path) -> None:
    model = FakeModel(lambda request: "x")
    replies = ask(Cached(model=model, path=str(tmp_path / "r.sqlite")), requests(1) * 50)
    assert len(model.asked) == 1
    assert {r.text for r in replies} == {"x"}


def test_failures_are_not_recorded(tmp_path: Path) -> None:
    path = str(tmp_path / "r.sqlite")
    ask(Cached(model=FakeModel(lambda r: Reply(None, error="gave up")), path=path), requests(3))
    better = FakeModel(lambda request: "x")
    assert [r.text for r in ask(Cached(model=better, path=path), requests(3))] == ["x"] * 3


def test_a_refusal_loses_nothing_and_is_no_loss(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    answers = iter(["x"] * 5)

    def answer(request: ChatRequest) -> str:
        try:
            return next(answers)
        except StopIteration:
            raise EndpointError("the quota is spent") from None

    model = FakeModel(answer)
    model.concurrency = 1
    with pytest.raises(EndpointError, match="quota"):
        ask(Cached(model=model, path=str(path)), requests(10))
    file = ReplyFile(path)
    assert [row["reply"]["text"] for row in file.rows()] == ["x"] * 5
    with sqlite3.connect(path) as db:
        assert db.execute("select count(*) from in_flight").fetchone() == (0,)


WRITER = """
import sys
from pathlib import Path
from simulators.chat.cached import Cached
from fake_model import Answer, FakeModel
from test_chat_models import ask, requests
name, path = sys.argv[1:]
replies = ask(Cached(model=FakeModel(lambda r: name), path=path), requests(300))
print("".join(r.text for r in replies))
"""


def test_many_processes_share_a_file(tmp_path: Path) -> None:
    """Whoever is first wins, and everybody reports what is recorded."""
    path = tmp_path / "r.sqlite"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, name, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            env=WITH_TESTS,
        )
        for name in "abcd"
    ]
    outputs = [writer.communicate(timeout=60)[0].strip() for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4
    recorded = ask(Cached(model=FakeModel(lambda r: "?"), path=str(path)), requests(300))
    assert set(outputs) == {"".join(r.text or "" for r in recorded)}


KILLED = """
import asyncio, os, signal, sys
from simulators.chat.cached import Cached
from fake_model import Answer, FakeModel
from test_chat_models import ask, requests

class Slow(FakeModel):
    async def ask(self, request):
        if len(self.asked) >= 20:  # 20 answered; now 8 are in flight
            self.asked.append(request)
            if len(self.asked) == 28:
                os.kill(os.getpid(), signal.SIGKILL)
            await asyncio.sleep(60)
        return await super().ask(request)

ask(Cached(model=Slow(lambda r: "x"), path=sys.argv[1]), requests(100))
"""


def test_requests_in_flight_at_a_kill_are_counted_and_answers_kept(tmp_path: Path) -> None:
    path = str(tmp_path / "r.sqlite")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, path], timeout=60, check=False, env=WITH_TESTS
    )
    assert killed.returncode == -9
    model, notes = FakeModel(lambda request: "x"), Notes()
    with listening(notes):
        ask(Cached(model=model, path=path), requests(100))
    assert len(model.asked) == 80  # the 20 recorded answers are not asked for again
    assert len(notes.notes) == 1
    assert "8 requests" in notes.notes[0]
    again = Notes()
    with listening(again):
        ask(Cached(model=model, path=path), requests(100))
    assert again.notes == []  # each loss is told once


def test_a_file_that_is_no_cache_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, please keep them" * 10)
    with pytest.raises(DataError, match=r"notes.txt cannot be used as a cache"):
        ReplyFile(path)
    assert path.read_text().startswith("these are my notes")


def test_the_command_inspects_exports_and_prunes(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    ask(Cached(model=FakeModel(lambda request: "x"), path=str(path)), requests(7))

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "simulators.cache", *arguments],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    assert "fake" in command("inspect", str(path)).stdout
    exported = command("export", str(path)).stdout.splitlines()
    assert [json.loads(line)["reply"]["text"] for line in exported] == ["x"] * 7
    assert command("prune", str(path)).returncode == 2
    assert "0 answers" in command("prune", str(path), "--older-than-days", "1").stdout
    assert "7 answers" in command("prune", str(path), "--model", "fake").stdout
    missing = command("inspect", str(tmp_path / "none.sqlite"))
    assert (missing.returncode, "there is no such file" in missing.stderr) == (3, True)
    assert not (tmp_path / "none.sqlite").exists()


def test_keys_do_not_depend_on_the_order_of_settings() -> None:
    (request,) = requests(1)
    a = ChatRequest(request.messages, {"max_tokens": 5, "temperature": 1.0})
    b = ChatRequest(request.messages, {"temperature": 1.0, "max_tokens": 5})
    assert request_key("m", a) == request_key("m", b) != request_key("m", request)


# -------------------------------------------------------------------------------------- budget


@pytest.mark.parametrize(
    ("limits", "answered"),
    [({"calls": 7}, 7), ({"tokens": 1000}, 9), ({"usd": 0.00061}, 5)],
)
def test_a_budget_is_never_exceeded_and_kept_across_runs(
    limits: dict[str, float], answered: int, tmp_path: Path
) -> None:
    """An answer bills 110 tokens and $0.00012, as is estimated of 400 characters."""
    ledger = str(tmp_path / "ledger.sqlite")
    asked = [ChatRequest((Message("user", f"{n:400}"),), {"max_tokens": 10}) for n in range(20)]
    model, notes = FakeModel(lambda request: "x"), Notes()
    with listening(notes):
        replies = ask(Budget(model=model, ledger=ledger, **limits), asked)  # type: ignore[arg-type]
    assert sum(r.text == "x" for r in replies) == answered
    assert {r.error for r in replies} == {None, SPENT}
    assert "budget is spent" in notes.notes[0]
    later = ask(Budget(model=model, ledger=ledger, **limits), asked[:3])  # type: ignore[arg-type]
    assert all(r.error == SPENT for r in later)


def test_a_budget_is_one_for_all_who_share_its_ledger(tmp_path: Path) -> None:
    """Thirteen members, answers without a bill, answers that fail: ten calls are ten calls."""
    answers: list[Answer] = [
        lambda request: "x",
        lambda request: Reply("x"),
        lambda request: Reply(None, error="gave up"),
    ]
    members = [
        Budget(model=FakeModel(answer), ledger=str(tmp_path / "ledger.sqlite"), calls=10)
        for answer in [*answers * 4, answers[0]]
    ]
    replies = side_by_side(lambda member: ask(member, requests(20)), members)
    assert sum(r.error != SPENT for member in replies for r in member) == 10


def test_a_budget_needs_a_limit_and_dollars_a_price(tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger.sqlite")
    with pytest.raises(ConfigError, match="limit at least one"):
        Budget(model=FakeModel(lambda request: "x"), ledger=ledger)
    unpriced = FakeModel(lambda request: "x", price=None)
    with pytest.raises(ConfigError, match="price of fake is not known"):
        Budget(model=unpriced, ledger=ledger, usd=1.0)


# ----------------------------------------------------------------------------- limits, prices


def test_a_pace_spreads_requests() -> None:
    """1200 a minute: 200 at once, then one each 50 ms."""

    async def admit(count: int) -> float:
        pace = Pace(None, 1200.0, None)
        started = time.monotonic()
        for _ in range(count):
            await pace.admit(1)
        return time.monotonic() - started

    at_once, spread = asyncio.run(admit(200)), asyncio.run(admit(220))
    assert spread - at_once > 0.8


def test_tokens_are_paced_too_and_large_requests_pass() -> None:
    async def admit() -> float:
        pace = Pace(None, None, 6000.0)
        started = time.monotonic()
        await pace.admit(5_000)  # more than ten seconds' worth: waits for an empty bucket
        await pace.admit(100)
        return time.monotonic() - started

    assert asyncio.run(admit()) > 0.8


def test_who_stops_waiting_leaves_its_place_to_others() -> None:
    async def cancelled() -> int:
        pace = Pace(1, 6.0, None)  # one place, one request in ten seconds
        await pace.leave(await pace.admit(1))
        waiting = asyncio.create_task(pace.admit(1))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return pace._occupied()

    assert asyncio.run(cancelled()) == 0


def test_limits_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"limits.concurrency=0"):
        Limits(concurrency=0)


def test_prices_have_sources_and_unknown_ones_stay_unknown() -> None:
    assert price_table()["gpt-4-0314"] == Price(30.0, 60.0)
    assert Endpoint(model="nobody-knows").price is None
    assert Endpoint(model="nobody-knows", price=Price(0.0, 0.0)).price == Price(0.0, 0.0)


def test_a_refusal_reaches_all_who_wait_for_the_same_answer(tmp_path: Path) -> None:
    class Refusing(FakeModel):
        async def ask(self, request: ChatRequest) -> Reply:
            await asyncio.sleep(0.05)
            raise EndpointError("no")

    cached = Cached(model=Refusing(lambda request: "x"), path=str(tmp_path / "r.sqlite"))
    (request,) = requests(1)

    async def both() -> list[object]:
        return await asyncio.gather(
            cached.ask(request), cached.ask(request), return_exceptions=True
        )

    assert [str(error) for error in run(both())] == ["no", "no"]


def test_who_waits_for_the_same_answer_has_not_paid_for_it(tmp_path: Path) -> None:
    """Also where the store takes its time, as a cluster's does."""

    class Slow(ReplyFile):
        async def get(self, key: str) -> Reply | None:
            await asyncio.sleep(0.01)
            return await super().get(key)

    model = FakeModel(lambda request: "x")
    cached = Cached(model=model, path="not used")
    cached.__dict__["_store"] = Slow(tmp_path / "r.sqlite")
    replies = ask(cached, requests(1) * 5)
    assert len(model.asked) == 1
    assert sorted(reply.cached for reply in replies) == [False, True, True, True, True]


def test_threads_that_begin_together_share_one_loop() -> None:
    program = (
        "import asyncio, threading\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from simulators.chat.loop import run\n"
        "barrier = threading.Barrier(13)\n"
        "async def loop(): return id(asyncio.get_running_loop())\n"
        "def ask(_): barrier.wait(); return run(loop())\n"
        "with ThreadPoolExecutor(13) as threads: print(len(set(threads.map(ask, range(13)))))\n"
    )
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout.strip() == "1"


def test_a_member_that_is_refused_ends_the_whole_pool() -> None:
    class Patient(FakeModel):
        async def ask(self, request: ChatRequest) -> Reply:
            self.asked.append(request)
            await asyncio.sleep(0.05)
            return Reply("x")

    def refuse(request: ChatRequest) -> str:
        raise EndpointError("no such model")

    patient = Patient(lambda request: "x")
    patient.server = "patient"
    with pytest.raises(EndpointError, match="no such model"):
        side_by_side(lambda model: ask(model, requests(2000)), [patient, FakeModel(refuse)])
    assert len(patient.asked) < 100


def test_the_judges_of_a_pool_share_their_servers_places() -> None:
    inside, most = 0, 0

    class Counting(FakeModel):
        async def ask(self, request: ChatRequest) -> Reply:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.005)
            inside -= 1
            return await super().ask(request)

    members = [Counting(lambda request: "x") for _ in range(4)]
    side_by_side(lambda model: ask(model, requests(30)), members)
    assert most == members[0].concurrency
