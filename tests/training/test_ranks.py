"""Several ranks learn what one rank learns, in real processes that meet over gloo."""

import json
from pathlib import Path

import pytest
import rank_programs
import toy_policy as toy
from torch.multiprocessing.spawn import spawn


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """By number of ranks, the folder of all programs' work."""
    root = tmp_path_factory.mktemp("ranks")
    start = toy.starting_policy(root / "start").path
    folders = {}
    for count in (1, 2):
        folders[count] = root / f"{count}"
        folders[count].mkdir()
        spawn(  # type: ignore[no-untyped-call]
            rank_programs.train_all, (count, start, folders[count]), nprocs=count
        )
    return folders


@pytest.mark.parametrize("program", [program.__name__ for program in rank_programs.PROGRAMS])
def test_two_ranks_learn_as_one_does(trained: dict[int, Path], program: str) -> None:
    one, two = (toy.metrics(folder / program) for folder in trained.values())
    assert len(one) == len(two) == (20 if program in ("ppo", "dpo") else 6)
    for alone, shared in zip(one, two, strict=True):
        alone.pop("episodes_per_s", None)
        shared.pop("episodes_per_s", None)
        assert shared == pytest.approx(alone, abs=1e-4 if program == "sft" else 1e-6)


def test_validation_is_that_of_one_rank(trained: dict[int, Path]) -> None:
    one, two = (
        json.loads((folder / "reward" / "validation.json").read_text())
        for folder in trained.values()
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
    assert [rank["asked"] for rank in found] == [[0], [], []]
