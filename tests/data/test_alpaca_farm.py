"""The hub's file layout, from a small local copy; revisions are resolved once and pinned."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

from farm.data.alpaca_farm import AlpacaFarm
from farm.errors import ConfigError, DataError
from farm.types import SPLITS

SHA = "0123456789abcdef0123456789abcdef01234567"


def _row(text: str, **more: str) -> dict[str, str]:
    return {"instruction": text, "input": "", "output": f"answer to {text}", **more}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The repository's layout and keys, with one instruction in two splits."""
    rows = {
        "alpaca_instructions/sft.json": [_row("a", datasplit="sft"), _row("e")],
        "alpaca_instructions/preference.json": [_row("b", datasplit="preference")],
        "alpaca_instructions/unlabeled.json": [_row("c", datasplit="unlabeled")],
        "alpaca_instructions/val.json": [_row("d", datasplit="val")],
        "alpaca_farm_evaluation.json": [
            _row("e", generator="text_davinci_003", dataset="koala", datasplit="eval")
        ],
    }
    for name, content in rows.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(content))
    return tmp_path


def test_a_local_copy_gives_five_disjoint_splits(copy: Path) -> None:
    splits = AlpacaFarm(path=str(copy)).load()
    texts = {name: [i.messages[0].content for i in splits[name]] for name in SPLITS}
    assert texts == {
        "sft": ["a"],
        "preference": ["b"],
        "unlabeled": ["c"],
        "validation": ["d"],
        "evaluation": ["e"],
    }
    assert splits["evaluation"][0].category == "koala"
    assert splits["sft"][0].demonstration == "answer to a"


def test_the_revision_is_resolved_once_and_read(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []
    read: list[Any] = []

    def repo_info(self: Any, name: str, **keys: Any) -> SimpleNamespace:
        asked.append(keys["revision"])
        return SimpleNamespace(sha=SHA)

    def snapshot_download(name: str, **keys: Any) -> str:
        read.append((name, keys["revision"]))
        return str(copy)

    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", repo_info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    source = AlpacaFarm(revision="main")
    assert source.pinned() == {"revision": SHA}
    assert len(source.load()["sft"]) == 1
    assert asked == ["main"]
    assert read == [("tatsu-lab/alpaca_farm", SHA)]
    assert AlpacaFarm(revision=SHA).pinned() == {"revision": SHA}
    assert asked == ["main"]


def test_offline_the_error_names_the_local_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    def repo_info(self: Any, name: str, **keys: Any) -> None:
        raise huggingface_hub.errors.OfflineModeIsEnabled("offline mode is enabled")

    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", repo_info)
    with pytest.raises(DataError, match=r"revision main.*set data\.path to a local copy"):
        AlpacaFarm().load()


def test_a_missing_file_and_a_bad_row_are_named(copy: Path) -> None:
    (copy / "alpaca_instructions/val.json").write_text('[{"output": "x"}]')
    with pytest.raises(DataError, match=r"val\.json, row 1: it has output"):
        AlpacaFarm(path=str(copy)).load()
    (copy / "alpaca_farm_evaluation.json").unlink()
    with pytest.raises(DataError, match=r"alpaca_farm_evaluation\.json: there is no such file"):
        AlpacaFarm(path=str(copy)).resolved()


def test_a_local_copy_has_no_revision() -> None:
    with pytest.raises(ConfigError, match=r"data\.revision=main"):
        AlpacaFarm(revision="main", path=".")
