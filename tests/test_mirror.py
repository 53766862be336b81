"""The store's copy: what one machine finished, another has; what is half copied does not count."""

from pathlib import Path
from typing import Any

import pytest

from farm.artifacts import Artifact, Build
from farm.errors import ConfigError, StoreError
from farm.mirror import MirroredStore, open_store


def _publish(store: MirroredStore, key: str = "k1") -> Artifact:
    with store.building("policy", key, lambda: None) as build:
        assert isinstance(build, Build)
        (build.work / "policy").mkdir(exist_ok=True)
        (build.work / "policy" / "weights.bin").write_bytes(b"abc")
        artifact = build.publish({"results": {}})
    store.keep(artifact)
    return artifact


def _stores(tmp_path: Path) -> tuple[MirroredStore, MirroredStore]:
    """Of two machines."""
    url = f"file://{tmp_path}/mirror"
    return MirroredStore(tmp_path / "one", url), MirroredStore(tmp_path / "other", url)


def test_another_machine_fetches_what_one_has_finished(tmp_path: Path) -> None:
    one, other = _stores(tmp_path)
    assert other.find("policy", "k1") is None
    _publish(one)
    found = other.find("policy", "k1")
    assert found is not None
    assert found.path == tmp_path / "other" / "policy" / "k1"
    assert (found.path / "policy" / "weights.bin").read_bytes() == b"abc"
    assert found.manifest == {"results": {}}
    with other.building("policy", "k1", lambda: None) as build:
        assert isinstance(build, Artifact), "nothing is left to build"


def test_copy_without_its_manifest_does_not_count(tmp_path: Path) -> None:
    one, other = _stores(tmp_path)
    _publish(one)
    (tmp_path / "mirror" / "policy" / "k1" / "manifest.json").unlink()
    assert other.find("policy", "k1") is None
    assert not list((tmp_path / "other").rglob("weights.bin"))


def test_manifest_is_copied_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = _stores(tmp_path)
    copied: list[str] = []
    put = one._remote.put_file

    def watched(local: str, remote: str, **more: Any) -> None:
        copied.append(Path(local).name)
        put(local, remote, **more)

    monkeypatch.setattr(one._remote, "put_file", watched)
    _publish(one)
    assert copied == ["weights.bin", "manifest.json"]


def test_copy_that_fails_says_so_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = _stores(tmp_path)

    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(one._remote, "put_file", full)
    with pytest.raises(StoreError, match=r"mirror=file://.*no space left.*goes on from there"):
        _publish(one)
    assert one.at("policy", "k1").manifest == {"results": {}}


@pytest.mark.parametrize(
    ("url", "what"),
    [("nosuch://bucket/folder", "mirror=nosuch"), ("ftp://me:secret@host/x", "password")],
)
def test_wrong_urls_are_refused(tmp_path: Path, url: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as error:
        open_store(tmp_path, url)
    assert "secret" not in str(error.value)
