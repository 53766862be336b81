"""The store's copy: what one machine finished, another has; what is half copied does not count."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from farm.artifacts import Artifact, Build, Store
from farm.errors import ConfigError, StoreError
from farm.mirror import MirroredStore, open_store
from farm.remote import Remote
from farm.scorers.stored import StoredScorer
from farm.stages.pointers import point_to_policy, policy_ref
from farm.types import BestOf


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
    remote = Remote(f"file://{tmp_path}/mirror")
    return MirroredStore(tmp_path / "one", remote), MirroredStore(tmp_path / "other", remote)


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
    files = one._remote._files
    put, move = files.put_file, files.mv

    def putting(local: str, remote: str, **more: Any) -> None:
        copied.append(Path(remote).name)
        put(local, remote, **more)

    def moving(partial: str, remote: str) -> None:
        copied.append(Path(remote).name)
        move(partial, remote)

    monkeypatch.setattr(files, "put_file", putting)
    monkeypatch.setattr(files, "mv", moving)
    _publish(one)
    assert copied == [".fence", "weights.bin", "manifest.json"]


def test_copy_that_fails_says_so_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = _stores(tmp_path)

    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(one._remote._files, "put_file", full)
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


def test_finished_artefact_that_was_never_copied_is_copied_when_it_is_reused(
    tmp_path: Path,
) -> None:
    one, other = _stores(tmp_path)
    with one.building("policy", "k1", lambda: None) as build:
        assert isinstance(build, Build)
        artifact = build.publish({"results": {}})
    assert other.find("policy", "k1") is None, "its driver was killed before it was copied"
    one.keep(artifact)
    assert other.find("policy", "k1") is not None
    assert not list((tmp_path / "mirror" / "policy").glob("*.partial"))


def test_artefact_brings_along_what_it_points_to(tmp_path: Path) -> None:
    """A policy that is another one's, answering by best-of-n: nothing of it lies in its folder."""
    one, other = _stores(tmp_path)
    start, reward = _publish(one, "start"), _publish(one, "reward")
    with one.building("policy", "best", lambda: None) as build:
        assert isinstance(build, Build)
        chosen = BestOf(4, 1.0, StoredScorer(str(reward.path)))
        point_to_policy(build.work, str(start.path / "policy"), chosen)
        best = build.publish({"results": {}})
    one.keep(best)
    shutil.rmtree(tmp_path / "one")
    other.have([other.at("policy", "best").path])
    found = policy_ref(other.at("policy", "best").path, {"temperature": 1.0, "max_new_tokens": 4})
    assert (Path(found.path) / "weights.bin").read_bytes() == b"abc"
    assert found.path == str(tmp_path / "other" / "policy" / "start" / "policy")
    assert found.best_of is not None
    assert isinstance(found.best_of.scorer, StoredScorer)
    assert Path(found.best_of.scorer.folder) == tmp_path / "other" / "policy" / "reward"
    assert (Path(found.best_of.scorer.folder) / "manifest.json").exists()


def test_missing_artefact_is_an_error_for_people(tmp_path: Path) -> None:
    one, _ = _stores(tmp_path)
    with pytest.raises(StoreError, match=r"policy/k1 on this machine, and file://.* no copy"):
        one.have([one.at("policy", "k1").path])
    with pytest.raises(StoreError, match=r"does not see .*/k1.*runs_dir.*mirror=URL"):
        Store(tmp_path).have([tmp_path / "k1"])
