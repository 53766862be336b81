"""A transformers model as judge: in this process, and what cluster workers share."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_model import FakeModel
from jobs_for_tests import loads_of_local_models

from farm.data.records import make_pair, user_instruction
from farm.heartbeat import listening
from farm.models.fresh import FreshLlama
from farm.models.tokenizers import WordLevel
from farm.pool import Pool, helped_by, start_pool
from farm.protocols import Annotator
from farm.types import Judgment, Message
from simulators.chat import local
from simulators.chat.budget import SPENT, Budget
from simulators.chat.cached import Cached
from simulators.chat.ledger import LedgerActor
from simulators.chat.limits import Limits, SharedPace, Unlimited, limiter
from simulators.chat.local import LocalModel
from simulators.chat.loop import ask_all
from simulators.chat.replies import ReplyActor
from simulators.chat.types import ChatRequest, Reply
from simulators.judges.asking import Sampling
from simulators.judges.judge import Judge
from simulators.judges.parsers import Letter, Numbered
from simulators.judges.ranking import RankingJudge
from simulators.pool import Pool as Pools

PAIRS = [
    make_pair(user_instruction(f"cart {'hay ' * n}"), f"oats {n}", f"pond {'goat ' * n}")
    for n in range(24)
]
MANY = PAIRS + [
    make_pair(user_instruction("goat"), *texts)
    for texts in (("oats", "hay"), ("oats", "duck"), ("hay", "duck"))
]
"""The last three share an instruction."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An untrained policy that knows a few words."""
    source = FreshLlama(
        tokenizer=WordLevel(), hidden_size=32, layers=2, heads=2, intermediate_size=64,
        tie_embeddings=False, max_prompt_tokens=1024, max_new_tokens=8,
    )  # fmt: skip
    words = user_instruction("barn cart duck goat hay oats pond", demonstration="barn cart")
    return source.build([words], tmp_path_factory.mktemp("model") / "policy", seed=0)


def annotate(path: str, batch_size: int, seed: int = 0) -> list[Judgment]:
    judge = Judge(
        name="local", prompt="letter", parser=Letter(first="barn", second="duck"),
        sampling=Sampling(max_tokens=1), model=LocalModel(path=path, batch_size=batch_size),
        max_unparsed=1.0,
    )  # fmt: skip
    return judge.annotate(PAIRS, seed=seed)


def test_verdicts_are_the_models_own_and_do_not_depend_on_the_batch(path: str) -> None:
    alone, together = annotate(path, 1), annotate(path, 16)
    known = [j.preference for j in alone if j.preference is not None]
    assert len(known) > 12
    assert [j.preference for j in together] == pytest.approx(
        [j.preference for j in alone], abs=1e-4
    )
    assert all(j.cost_usd == 0.0 and j.usage and j.usage.completion_tokens == 1 for j in alone)
    assert [j.raw for j in alone] == [j.raw for j in together]


def test_samples_are_seeded_by_request_and_draw(path: str) -> None:
    model = LocalModel(path=path)
    asked = [
        ChatRequest((Message("user", "barn cart"),), {"max_tokens": 6, "temperature": 1.0}, draw)
        for draw in range(8)
    ]

    def texts() -> list[str | None]:
        replies: dict[int, Reply] = {}
        ask_all(model, asked, len(asked), replies.__setitem__)
        return [replies[n].text for n in range(len(asked))]

    assert texts() == texts()
    assert len(set(texts())) > 4


def test_long_prompts_are_refused_and_the_others_answered(path: str) -> None:
    model = LocalModel(path=path, max_prompt_tokens=4)
    asked = [
        ChatRequest((Message("user", "barn " * n),), {"max_tokens": 3}) for n in (20, 1, 20, 1)
    ]
    replies: dict[int, Reply] = {}
    ask_all(model, asked, len(asked), replies.__setitem__)
    assert [replies[n].text is None for n in range(4)] == [True, False, True, False]
    assert "max_prompt_tokens=4" in str(replies[0].error)


def test_a_model_that_cannot_be_loaded_is_an_error_not_a_hang(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="cannot be loaded"):
        annotate(str(tmp_path), 4)


# ------------------------------------------------------------------------ helped by actors


@pytest.fixture(scope="module")
def pool(ray_session: None) -> Iterator[Pool]:
    found = start_pool(
        2, gpus=0, restarts=3, timeout_s=60, start_timeout_s=120, key="cluster.scorers"
    )
    yield found
    found.stop()


def judges(path: str, cache: Path) -> Annotator:
    """Three with one model, two of whom look at several pairs together."""
    model = Cached(model=LocalModel(path=path, batch_size=4), path=str(cache))
    alike: Any = {
        "sampling": Sampling(max_tokens=3, temperature=1.0), "model": model, "max_unparsed": 1.0
    }  # fmt: skip
    letter = Letter(first="barn", second="duck")
    return Pools(
        annotators=[
            Judge(name="one", prompt="letter", parser=letter, **alike),
            Judge(name="four", prompt="numbered", parser=Numbered(), pairs_per_request=4, **alike),
            RankingJudge(name="ranking", prompt="ranking", **alike),
        ]
    )


class Assassin:
    """Kills a process as soon as a judge says that it is at work."""

    def __init__(self, process: int) -> None:
        self._process: int | None = process

    def beat(self, done: int, metrics: Mapping[str, float]) -> None:
        if self._process is not None:
            os.kill(self._process, signal.SIGKILL)
            self._process = None

    def note(self, text: str) -> None:
        raise AssertionError(text)


@pytest.mark.slow
def test_actors_judge_as_one_process_does_though_one_dies(
    path: str, pool: Pool, tmp_path: Path
) -> None:
    local._load.cache_clear()
    with helped_by(pool):
        there = judges(path, tmp_path / "there.sqlite").annotate(MANY, seed=5)
        assert local._load.cache_info().misses == 0, "no weights here"
        found = dict(pool.map(loads_of_local_models, range(8)))
        assert list(found.values()) == [1, 1], "once an actor"
        with listening(Assassin(next(iter(found)))):
            though = judges(path, tmp_path / "though.sqlite").annotate(MANY, seed=5)
        again = judges(path, tmp_path / "there.sqlite").annotate(MANY, seed=5)
    here = judges(path, tmp_path / "here.sqlite").annotate(MANY, seed=5)
    plain = [_timeless(judgment) for judgment in here]
    assert [_timeless(judgment) for judgment in there] == plain
    assert [_timeless(judgment) for judgment in though] == plain
    assert [_timeless(replace(judgment, cached=False)) for judgment in again] == plain
    assert all(judgment.cached for judgment in again)
    assert {judgment.annotator for judgment in here} == {"one", "four", "ranking"}
    assert sum(judgment.preference is not None for judgment in here) > 3
    assert any(judgment.usage and judgment.usage.requests == 1 / 4 for judgment in here)


def _timeless(judgment: Judgment) -> Judgment:
    return replace(judgment, latency_s=None)


# ------------------------------------------------------------------------ shared by a cluster


def test_workers_share_one_pace(ray_session: None) -> None:
    """1200 a minute: 200 at once for all together, then one each 50 ms."""

    async def admit() -> tuple[float, float]:
        paces = [SharedPace("endpoint", (None, 1200.0, None)) for _ in range(2)]
        await asyncio.gather(*(paces[n % 2].admit(1) for n in range(190)))
        started = time.monotonic()
        await asyncio.gather(*(paces[n % 2].admit(1) for n in range(10)))
        burst = time.monotonic() - started
        started = time.monotonic()
        await asyncio.gather(*(paces[n % 2].admit(1) for n in range(30)))
        return burst, time.monotonic() - started

    burst, paced = asyncio.run(admit())
    assert paced > 1.0 > burst


def test_workers_share_places_for_requests_in_flight(ray_session: None) -> None:
    async def most_at_once() -> int:
        paces = [SharedPace("places", (5, None, None)) for _ in range(2)]
        inside, most = 0, 0

        async def request(n: int) -> None:
            nonlocal inside, most
            ticket = await paces[n % 2].admit(1)
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1
            await paces[n % 2].leave(ticket)

        await asyncio.gather(*(request(n) for n in range(40)))
        return most

    assert asyncio.run(most_at_once()) == 5


def test_the_limiter_is_shared_where_ray_runs(ray_session: None) -> None:
    assert isinstance(limiter("a", Limits(requests_per_minute=60)), SharedPace)
    assert isinstance(limiter("a", Limits()), Unlimited)


def test_machines_of_a_cluster_share_recorded_answers(ray_session: None, tmp_path: Path) -> None:
    model = FakeModel(lambda request: "x")
    request = ChatRequest((Message("user", "q"),), {"max_tokens": 1})
    replies: list[Reply] = []
    for _ in range(2):
        cached = Cached(model=model, path="not used")
        cached._store = ReplyActor(tmp_path / "replies.sqlite")
        ask_all(cached, [request], 1, lambda index, reply: replies.append(reply))
    assert len(model.asked) == 1
    assert [reply.cached for reply in replies] == [False, True]
    assert [reply.text for reply in replies] == ["x", "x"]


def test_machines_of_a_cluster_share_a_budget(ray_session: None, tmp_path: Path) -> None:
    model = FakeModel(lambda request: "x")
    requests = [ChatRequest((Message("user", f"{n}"),), {"max_tokens": 1}) for n in range(6)]
    replies: list[Reply] = []
    for _ in range(2):
        budget = Budget(model=model, ledger="not used", calls=8)
        budget._ledger = LedgerActor(tmp_path / "ledger.sqlite")
        ask_all(budget, requests, 6, lambda index, reply: replies.append(reply))
    assert len(model.asked) == 8
    assert sum(reply.error == SPENT for reply in replies) == 4
