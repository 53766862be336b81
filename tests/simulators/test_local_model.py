"""A transformers model as judge: in this process, and what cluster workers share."""

import asyncio
import time
from pathlib import Path

import pytest
from fake_model import FakeModel

from farm.data.records import make_pair, user_instruction
from farm.models.fresh import FreshLlama
from farm.models.tokenizers import WordLevel
from farm.types import Judgment, Message
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
from simulators.judges.parsers import Letter

PAIRS = [
    make_pair(user_instruction(f"cart {'hay ' * n}"), f"oats {n}", f"pond {'goat ' * n}")
    for n in range(24)
]


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


def test_a_model_that_cannot_be_loaded_is_an_error_not_a_hang(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="cannot be loaded"):
        annotate(str(tmp_path), 4)


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
