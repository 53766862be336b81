"""Several ranks learn what one rank learns, in real processes that meet over gloo."""

import json
from pathlib import Path

import pytest
import rank_programs
import torch
import toy_policy as toy
from safetensors.torch import load_file
from torch.multiprocessing.spawn import spawn

from farm.training.ranks import Group, ShardingGroup

TOGETHER = pytest.mark.parametrize(
    "together", ["copies", pytest.param("shards", marks=pytest.mark.slow)]
)


class Trained:
    """By who trained, the folder of all programs' work, made when it is first asked for."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._start = toy.starting_policy(root / "start").path

    def __getitem__(self, name: str) -> Path:
        folder = self._root / name
        if not folder.exists():
            folder.mkdir()
            self._train(name, folder)
        return folder

    def _train(self, name: str, folder: Path) -> None:
        groups = {"one": (1, Group), "copies": (2, Group), "shards": (2, ShardingGroup)}
        if name == "plain":
            spawn(rank_programs.train_plainly, (self._start, folder))  # type: ignore[no-untyped-call]
            return
        count, group = groups[name]
        spawn(  # type: ignore[no-untyped-call]
            rank_programs.train_all, (count, self._start, folder, group), nprocs=count
        )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("ranks"))


@TOGETHER
@pytest.mark.parametrize("program", [program.__name__ for program in rank_programs.PROGRAMS])
def test_two_ranks_learn_as_one_does(trained: Trained, program: str, together: str) -> None:
    one, two = (toy.metrics(trained[who] / program) for who in ("one", together))
    steps = 20 if program in ("ppo", "dpo") else 7 if program.startswith("short") else 6
    assert len(one) == len(two) == steps
    for alone, shared in zip(one, two, strict=True):
        alone.pop("episodes_per_s", None)
        shared.pop("episodes_per_s", None)
        assert shared == pytest.approx(alone, abs=1e-4 if "sft" in program else 1e-6)


@pytest.mark.parametrize("program", [program.__name__ for program in rank_programs.PLAINLY])
def test_short_cuts_change_nothing(trained: Trained, program: str) -> None:
    short, plain = (toy.metrics(trained[who] / program) for who in ("one", "plain"))
    assert len(short) == len(plain)
    for one, other in zip(short, plain, strict=True):
        one.pop("episodes_per_s", None)
        other.pop("episodes_per_s", None)
        assert other == pytest.approx(one, abs=1e-6)


@TOGETHER
@pytest.mark.parametrize("file", ["model.safetensors", "adapter/adapter_model.safetensors"])
@pytest.mark.parametrize("program", ["short_ppo_continued", "short_dpo_continued"])
def test_what_two_ranks_publish_is_whole(
    trained: Trained, program: str, file: str, together: str
) -> None:
    one, two = (load_file(trained[who] / program / "policy" / file) for who in ("one", together))
    assert one.keys() == two.keys()
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=1e-6, rtol=0)


@TOGETHER
def test_validation_is_that_of_one_rank(trained: Trained, together: str) -> None:
    one, two = (
        json.loads((trained[who] / "reward" / "validation.json").read_text())
        for who in ("one", together)
    )
    assert one == two
    assert one["pairs"] > 0


def test_exchanges(tmp_path: Path) -> None:
    spawn(rank_programs.exchange, (3, tmp_path), nprocs=3)  # type: ignore[no-untyped-call]
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(3)]
    assert [rank["mine"] for rank in found] == [["a", "d", "g"], ["b", "e"], ["c", "f"]]
    for rank in found:
        assert rank["gathered"] == ["A", "B", "C", "D", "E", "F", "G"]
        assert rank["none"] == []
        assert rank["sums"] == [[[6.0] * 3] * 2, 6]
        assert rank["once"] == {"inside": ["a", "b", "c", "d", "e", "f", "g"], "nested": 0}
        assert rank["parts"]["held"] == 36 / 3
        assert rank["parts"]["gradients"] == [1.0 + 2.0 + 3.0]
        assert rank["parts"]["whole"] == 36
    assert [rank["parts"]["gathered"] for rank in found] == ["True", "False", "False"]
    assert [rank["parts"]["rounds"] for rank in found] == [
        [False, False], [True, False], [True, True]
    ]  # fmt: skip
    assert [rank["asked"] for rank in found] == [[0], [], []]
