"""How steps become artefacts: looked up by key, or built by a worker and published."""

import importlib
import platform
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from farm.artifacts import Artifact, Build, Store, content_hash, key_of
from farm.cluster import Cluster
from farm.config import pinned, resolved, result_config
from farm.console import Console
from farm.errors import FarmError
from farm.stages.job import Job

_PACKAGES = ("torch", "transformers", "trl", "peft", "ray", "accelerate", "tokenizers", "numpy")


@dataclass(frozen=True)
class Step:
    """One artefact to have: its stage, its function, and everything that changes its content."""

    stage: str
    function: str
    """`package.module:name`. The module's `STAGE_VERSION` is in the key: it grows when a change of
    what the module does changes what is made; classes that a config names have their own."""
    config: Mapping[str, Any]
    parents: Mapping[str, Artifact]
    seed: int
    label: str
    """What people call it: `sft`, `ppo`, `pairs`."""
    together: bool = False
    """Whether all learners run it, each as a rank (see `farm.training.ranks`)."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Files outside the store that the function reads, by the config key that it finds their paths
    under. Their contents are in the key, their paths are not."""

    @cached_property
    def key(self) -> str:
        """The artefact's key (DESIGN: content-addressed store)."""
        return key_of(self.identity)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What the key is the hash of."""
        module = importlib.import_module(self.function.partition(":")[0])
        hashes = {name: content_hash(path) for name, path in self.files.items()}
        return {
            "stage": self.stage,
            "function": self.function,
            "stage_version": module.STAGE_VERSION,
            "config": result_config(self._pinned_config),
            "parents": {name: f"{a.stage}/{a.key}" for name, a in self.parents.items()},
            "seed": self.seed,
            "inputs": {**resolved(self._pinned_config), **hashes},
        }

    @property
    def job_config(self) -> dict[str, Any]:
        """What the function gets; its paths and sizes that change no result are not in the key."""
        return {**self._pinned_config, **{name: str(path) for name, path in self.files.items()}}

    @cached_property
    def _pinned_config(self) -> dict[str, Any]:
        config: dict[str, Any] = pinned(self.config)
        return config


@dataclass
class StageTiming:
    """One line of a run's bill of time."""

    label: str
    stage: str
    key: str
    wall_s: float
    reused: bool


class Executor(Protocol):
    """Turns steps into artefacts."""

    def ensure(self, step: Step) -> Artifact:
        """The step's artefact, finished."""
        ...


class Builder:
    """Builds what the store lacks and reuses what it has."""

    def __init__(self, store: Store, cluster: Cluster, console: Console) -> None:
        self._store = store
        self._cluster = cluster
        self._console = console
        self._had: dict[str, Artifact] = {}
        self.timings: list[StageTiming] = []
        self.notes: list[str] = []
        """What the stages want the run's readers to know."""

    def ensure(self, step: Step) -> Artifact:
        """The step's artefact, from the store or newly built; each is accounted for once."""
        key = step.key
        if key not in self._had:
            self._had[key] = self._find_or_build(step, key)
        return self._had[key]

    def _find_or_build(self, step: Step, key: str) -> Artifact:
        artifact = self._store.find(step.stage, key)
        if artifact is not None:
            self._store.keep(artifact)  # a run that was killed may not have come so far
            return self._note(step, artifact, 0.0, reused=True)
        started = time.monotonic()

        def wait() -> None:
            self._console.message(f"{step.label}: another run builds it")

        name = f"{step.stage}/{key} of {self._store.identity}"
        with (
            self._cluster.sole_builder(name, wait) as check,
            self._store.building(step.stage, key, wait) as build,
        ):
            if isinstance(build, Artifact):
                return self._note(step, build, time.monotonic() - started, reused=True)
            job = self._job(step, build)
            with self._console.stage(step.label) as on_progress:
                results = self._cluster.run(job, on_progress)
            job.folder.open()  # the worker may have worked on another machine
            wall_s = time.monotonic() - started
            manifest = {
                **step.identity,
                "key": key,
                "job_config": step.job_config,
                "results": results,
                "wall_s": wall_s,
            }
            check()
            artifact = build.publish({**manifest, **_provenance()})
            self._store.keep(artifact)
        return self._note(step, artifact, wall_s, reused=False)

    def _job(self, step: Step, build: Build) -> Job:
        return Job(
            function=step.function,
            stage=step.stage,
            key=step.key,
            work=build.work.resolve(),
            token=build.token,
            store=self._store.resolved(),
            config=step.job_config,
            parents={name: a.path.resolve() for name, a in step.parents.items()},
            seed=step.seed,
            together=step.together,
        )

    def _note(self, step: Step, artifact: Artifact, wall_s: float, *, reused: bool) -> Artifact:
        self.timings.append(StageTiming(step.label, step.stage, artifact.key, wall_s, reused))
        self._console.finished(step.label, artifact.key, wall_s, reused=reused)
        for text in artifact.manifest["results"].get("notes", ()):
            self.notes.append(f"{step.label}: {text}")
            self._console.message(f"warning: {self.notes[-1]}")
        return artifact


class NotBuilt(FarmError):
    """An artefact is not there, and nothing may be built."""


class Finder:
    """Takes what the store has, and builds nothing. Raises `NotBuilt` for what it lacks."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def ensure(self, step: Step) -> Artifact:
        """The step's artefact."""
        found = self._store.find(step.stage, step.key)
        if found is None:
            raise NotBuilt(f"{step.label} is not built yet.")
        return found


class Planner:
    """Says what would be built or reused, and builds nothing (`dry_run=true`)."""

    def __init__(self, store: Store, console: Console) -> None:
        self._store = store
        self._console = console
        self.missing = 0
        self.reused = 0

    def ensure(self, step: Step) -> Artifact:
        """Where the step's artefact is or would be."""
        found = self._store.find(step.stage, step.key)
        self._console.planned(step.label, step.key, reused=found is not None)
        self.missing += found is None
        self.reused += found is not None
        return found or self._store.at(step.stage, step.key)


def _provenance() -> dict[str, Any]:
    """What is recorded but does not change results."""
    return {"git_revision": git_revision(), "versions": versions(), "created_at": time.time()}


def versions() -> dict[str, str]:
    """Python's and the libraries' versions."""
    return {
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in _PACKAGES},
    }


def git_revision() -> str | None:
    """The commit of the sandbox's own checkout; None outside one."""
    found = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() if found.returncode == 0 else None
