"""Pools of actors: order, faults and errors, with real processes in one Ray session."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_policy as toy

from farm.errors import ClusterError, DataError
from farm.generation.engines import own_decoder
from farm.generation.moved import Asked
from farm.models.load import load_policy
from farm.pool import Here, Pool, helped_by, helpers, in_pieces, start_pool
from farm.protocols import FloatArray
from farm.scorers.pooled import pooled_scores
from farm.training.episodes import rollout
from farm.types import Instruction


def _start(key: str, restarts: int) -> Pool:
    return start_pool(
        2, gpus=0, restarts=restarts, timeout_s=60, start_timeout_s=120, key=f"cluster.{key}"
    )


@pytest.fixture(scope="module")
def pool(ray_session: None) -> Iterator[Pool]:
    found = _start("samplers", restarts=3)
    yield found
    found.stop()


def _whoami(folder: Path, task: int) -> tuple[int, int]:
    """The task and this process, which dies the first time it hears 3."""
    if task == 3 and not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return task, os.getpid()


def _refuse(task: int) -> int:
    raise DataError(f"task {task} cannot be done.")


def _die(task: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return task


def _refuse_the_first(folder: Path, task: int) -> int:
    """Leaves a trace of each task but the first."""
    if task == 0:
        raise DataError("not this one.")
    (folder / str(task)).touch()
    time.sleep(0.05)
    return task


def _meet(folder: Path, task: int) -> int:
    """This process, once the other task has begun too."""
    (folder / str(task)).touch()
    waited_until = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2:
        assert time.monotonic() < waited_until, "the other task waits for this one's actor"
        time.sleep(0.01)
    return os.getpid()


def _processes(rows: Sequence[int]) -> list[tuple[int, int]]:
    return [(row, os.getpid()) for row in rows]


class LengthReward:
    """How long an answer is."""

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        return np.array([float(len(text)) for text in completions])


def test_tasks_come_back_in_order_though_an_actor_dies(pool: Pool, tmp_path: Path) -> None:
    found = list(pool.map(partial(_whoami, tmp_path), range(8)))
    assert [task for task, _ in found] == list(range(8))
    assert (tmp_path / "died").exists()
    assert os.getpid() not in {process for _, process in found}


def test_who_maps_at_the_same_time_shares_the_actors(pool: Pool, tmp_path: Path) -> None:
    def meet(task: int) -> int:
        (process,) = pool.map(partial(_meet, tmp_path), [task])
        return process

    with ThreadPoolExecutor(2) as threads:
        assert len(set(threads.map(meet, range(2)))) == 2


def test_nothing_is_begun_after_an_error(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^not this one\.$"):
        list(pool.map(partial(_refuse_the_first, tmp_path), range(200)))
    assert len(list(tmp_path.iterdir())) < 100


def test_helpers_do_the_pieces_of_what_runs_inside(pool: Pool) -> None:
    rows = list(range(700))
    with helped_by(pool):
        found = in_pieces(_processes, rows)
        assert list(helpers().map(_at_hand, [0])) == [0], "helpers have no helpers"
    assert [row for row, _ in found] == rows
    assert os.getpid() not in {process for _, process in found}
    assert in_pieces(_processes, rows) == [(row, os.getpid()) for row in rows]


def _at_hand(task: int) -> int:
    return helpers().size


def test_errors_for_people_arrive_as_they_are(pool: Pool) -> None:
    with pytest.raises(DataError, match=r"^task 0 cannot be done\.$"):
        list(pool.map(_refuse, [0]))


def test_actors_that_always_die_end_in_an_error_that_names_the_key(ray_session: None) -> None:
    pool = _start("scorers", restarts=1)
    with pytest.raises(ClusterError, match=r"cluster\.scorers.*cluster\.max_restarts"):
        list(pool.map(_die, [0]))
    pool.stop()


def test_answers_are_those_of_the_weights_that_were_sent(pool: Pool, tmp_path: Path) -> None:
    import torch

    start = toy.starting_policy(tmp_path / "start")
    model = load_policy(start.path, "cpu")
    prompts = [[1 + n % 5, 3, 4 + n % 3] for n in range(40)]
    asked = Asked(prompts, list(range(40)))
    how: dict[str, Any] = {
        "max_new_tokens": 6, "stop_ids": [2], "pad_id": 0, "batch_size": 7,
    }  # fmt: skip
    here, there = toy.context(tmp_path / "here"), toy.context(tmp_path / "there")
    there.samplers = pool
    seen = []
    for _ in range(2):
        one, other = (rollout(model, own_decoder(start), asked, c, **how) for c in (here, there))
        assert one.responses == other.responses
        assert one.mask_B_T.equal(other.mask_B_T)
        seen.append(one.responses)
        with torch.no_grad():
            model.lm_head.weight.add_(torch.randn_like(model.lm_head.weight))
    assert seen[0] != seen[1]


def test_scores_are_those_of_the_scorer(pool: Pool) -> None:
    asked = toy.instructions(600)
    texts = [instruction.demonstration or "" for instruction in asked]
    heard: list[int] = []
    there = pooled_scores(LengthReward(), pool, asked, texts, heard.append)
    here = pooled_scores(LengthReward(), Here(), asked, texts)
    assert there.tolist() == here.tolist() == [float(len(text)) for text in texts]
    assert heard == [256, 512, 600]
    assert pooled_scores(LengthReward(), pool, [], []).shape == (0,)
