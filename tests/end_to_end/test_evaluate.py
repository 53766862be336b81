"""`python -m farm.evaluate`: files and policies against a reference, and what a user gets wrong."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toy_policy as toy

from farm.artifacts import write_json
from farm.config import cli
from farm.data.barnyard.gold import BarnyardGold
from farm.data.barnyard.source import Barnyard
from farm.data.records import last_user_text
from farm.evaluate import EVALUATE, task
from farm.stages.pointers import point_to_policy
from farm.types import Instruction
from simulators.annotation_rows import read_judged

SMALL = ("data=barnyard", "data.sft=0", "data.preference=0", "data.unlabeled=0",
         "data.validation=0", "data.evaluation=60", "data.held_out=10")  # fmt: skip
TOY = [f"model.{key}={value}" for key, value in toy.LIMITS.items()]
Evaluate = Callable[..., int]


@pytest.fixture(scope="module")
def asked() -> Sequence[Instruction]:
    """What `SMALL` asks in the split evaluation; the last ten are of the held-out family."""
    world = Barnyard(sft=0, preference=0, unlabeled=0, validation=0, evaluation=60, held_out=10)
    return world.load()["evaluation"]


@pytest.fixture
def evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluate:
    """The command in a fresh folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *overrides: cli(task, ["cluster.num_cpus=1", *overrides], EVALUATE)


def write(name: str, asked: Sequence[Instruction], texts: Sequence[str], generator: str) -> None:
    rows = [
        {"instruction": last_user_text(i), "output": text, "generator": generator}
        for i, text in zip(asked, texts, strict=True)
    ]
    write_json(Path(name), rows)


@pytest.fixture
def files(asked: Sequence[Instruction], evaluate: Evaluate) -> None:
    """Demonstrations as they are and in other manners, in the fresh folder."""
    plain = [i.demonstration or "" for i in asked]
    write("theirs.json", asked, plain, "theirs")
    write("warm.json", asked, [f"{text} glad to help !" for text in plain], "warm")
    write("silent.json", asked, ["" for _ in plain], "silent")


def test_leaderboard_of_files(
    ray_session: None, files: None, evaluate: Evaluate, asked: Sequence[Instruction],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    command = ("outputs=[silent.json,warm.json]", "evaluation.reference=theirs.json",
               "evaluators=barnyard", *SMALL)  # fmt: skip
    assert evaluate(*command, "dry_run=true") == 0
    assert "2 to build, 0 to reuse" in capsys.readouterr().out
    assert not Path("runs").exists()

    assert evaluate(*command) == 0
    folder = Path("runs/evaluations/barnyard")
    board = pd.read_csv(folder / "leaderboard.csv").set_index("name")
    assert list(board.index) == ["warm", "silent"]
    assert board.loc["silent", "n_empty"] == board.loc["silent", "n"] == 60
    out = capsys.readouterr().out
    assert "silent: 70 outputs are empty" in out
    assert "10 instructions of recombine do not count" in out
    for name in ("leaderboard.md", "leaderboard.html"):
        assert "warm" in (folder / name).read_text()

    items = pd.read_parquet(folder / "items.parquet")
    headline = items[(items["name"] == "warm") & (items["category"] != "recombine")]
    assert board.loc["warm", "win_rate"] == pytest.approx(100 * headline["preference"].mean())
    gold = BarnyardGold()
    warmth = np.sign(
        gold.score(asked[:60], headline["output"].tolist())
        - gold.score(asked[:60], headline["output_reference"].tolist())
    )
    assert board.loc["warm", "gold_win_rate"] == pytest.approx(50 * (1 + warmth.mean()))

    rows = json.loads((folder / "annotations.json").read_text())
    assert {(row["generator_1"], row["generator_2"]) for row in rows} == {
        ("theirs", "silent"), ("theirs", "warm"),
    }  # fmt: skip
    read = [(pair.output_b, judgment.preference) for pair, judgment in read_judged(
        folder / "annotations.json")]  # fmt: skip
    assert read == list(zip(items["output"], items["preference"], strict=True))

    first = (folder / "leaderboard.csv").read_bytes()
    assert evaluate(*command, "outputs=warm.json", "out=again") == 0
    assert "reused" in capsys.readouterr().out  # one side less judges nothing again
    assert evaluate(*command) == 0
    assert capsys.readouterr().out.count("reused") == 2
    assert (folder / "leaderboard.csv").read_bytes() == first


def test_policies_answer_what_a_file_asks(
    ray_session: None, evaluate: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.starting_policy(Path("one"), seed=0)
    toy.starting_policy(Path("artifact/policy"), seed=1)
    point_to_policy(Path("artifact"), "artifact/policy")
    write_json(Path("artifact/manifest.json"), {"stage": "policy", "key": "abc"})
    questions = list({i.id: i for i in toy.instructions(12)}.values())
    write("asks.json", questions, [i.demonstration or "" for i in questions], "asks")
    command = ("evaluators=longest", *TOY)
    assert evaluate("outputs=[one,artifact]", "evaluation.reference=asks.json", *command) == 0
    items = pd.read_parquet("runs/evaluations/longest/items.parquet")
    sizes = dict.fromkeys(("one", "artifact"), len(questions))
    assert items.groupby("name").size().to_dict() == sizes
    assert items.groupby("instruction_id")["output"].nunique().max() == 2
    capsys.readouterr()

    # The other way round the policy answers the same: its answers are there already.
    turned = ("outputs=asks.json", "evaluation.reference=one", "dry_run=true")
    assert evaluate(*turned, *command) == 0
    assert "1 to build, 2 to reuse" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "status", "said"),
    [
        (("evaluation.reference=no.json",), 3, "evaluation.reference: no.json: there is no such"),
        (("outputs=no.json",), 3, "outputs: no.json: there is no such file"),
        (("outputs=[warm.json,warm.json]",), 3, "2 are named warm"),
        (("outputs=toy",), 2, "toy has only 18 positions"),
        (("outputs=empty",), 2, "weights in safetensors format are needed"),
        (("outputs=no/such/folder",), 2, "no such directory, and it is no hub name"),
        (("outputs=empty.txt",), 3, "the file must end in .jsonl"),
        (("outputs=toy", "evaluation.reference=toy", *TOY), 2, "Give data=CHOICE"),
        (("evaluators=none",), 2, "Give evaluators=CHOICE: alpaca_farm, barnyard, judge, longest"),
        (("evaluators=barnyrd",), 2, "Did you mean barnyard?"),
        (("evaluation.instructions=commn",), 2, "Did you mean common?"),
        (("outputs=few.json",), 3, "few.json (few) has no output for 65 of 70 instructions"),
        (("outputs=[]",), 2, "outputs: name at least one"),
    ],
)
def test_mistakes_end_it_before_anything_starts(
    files: None, evaluate: Evaluate, asked: Sequence[Instruction],
    capsys: pytest.CaptureFixture[str], overrides: Sequence[str], status: int, said: str,
) -> None:  # fmt: skip
    Path("empty").mkdir()
    Path("empty.txt").touch()
    toy.starting_policy(Path("toy"))
    write("few.json", asked[:5], ["hay"] * 5, "few")
    right = ("outputs=warm.json", "evaluation.reference=theirs.json", "evaluators=barnyard")
    assert evaluate(*right, *overrides) == status
    assert said in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_judge_without_its_key_is_told_first(
    files: None, evaluate: Evaluate, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    command = ("outputs=warm.json", "evaluation.reference=theirs.json", "evaluators=judge")
    assert evaluate(*command) == 2
    assert "OPENAI_API_KEY" in capsys.readouterr().err
    assert evaluate(*command, "dry_run=true") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "judging warm: 70 pairs, 70 requests still to pay" in out


def test_judges_that_cannot_judge_make_no_leaderboard(
    ray_session: None, evaluate: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("mine", "theirs"):
        write_json(Path(f"{name}.json"), [{"instruction": "Who are you?", "output": name}])
    status = evaluate(
        "outputs=mine.json", "evaluation.reference=theirs.json", "evaluators=barnyard"
    )
    assert status == 3
    assert "no verdict on any answer" in capsys.readouterr().err
    assert not list(Path("runs").rglob("leaderboard.*"))
