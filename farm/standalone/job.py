"""The command's work: read, join, answer, judge, and write a leaderboard."""

import signal
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from farm.artifacts import Artifact, Store
from farm.builder import Builder, Executor, Planner
from farm.cluster import Cluster
from farm.console import Console
from farm.data.answers import AnswerSet
from farm.errors import ConfigError, DataError
from farm.estimate import is_paid, quote, stand_in
from farm.preflight import check_keys, check_packages
from farm.stages.evaluation import reference_pairs, verdict_seed
from farm.stages.outputs import first_texts
from farm.standalone.bench import Bench, Keep, keeper
from farm.standalone.contest import Contest, Side, find_contest
from farm.standalone.settings import EvaluateSettings


def evaluate(config: Mapping[str, Any]) -> int:
    """Evaluate as a resolved and checked configuration says; returns the exit status."""
    settings = EvaluateSettings.from_plain(config)
    check_packages(config)
    contest = find_contest(config, settings)
    evaluation = _Evaluation(config, settings, contest, Console())
    for note in contest.notes:
        evaluation.console.message(f"warning: {note}")
    if settings.dry_run:
        evaluation.plan()
    else:
        check_keys({"annotators": {}, "evaluators": config["evaluators"]})
        evaluation.run(_made(settings.out))
    return 0


class _Texts(NamedTuple):
    texts: Sequence[str]
    real: bool
    """False: as long as they may become."""


@dataclass(frozen=True)
class _Evaluation:
    """One evaluation whose sides are known to answer the same."""

    config: Mapping[str, Any]
    settings: EvaluateSettings
    contest: Contest
    console: Console

    def run(self, folder: Path) -> None:
        """Answer, judge and write into the folder what came of it."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        with closing(Cluster(self.settings.cluster, self.console.message)) as cluster:
            builder = Builder(self._store, cluster, self.console)
            bench = self._bench(builder, keeper(self._store, self.console.message))
            reference = bench.outputs(self.contest.reference)
            outputs = {side.name: bench.outputs(side) for side in self.contest.sides}
            evaluations = {
                name: builder.ensure(bench.evaluation(name, answers, reference))
                for name, answers in outputs.items()
            }
        self._write(folder, reference, evaluations, [*self.contest.notes, *builder.notes])

    def plan(self) -> None:
        """Say what would be sampled and judged, and what the judge would cost."""
        planner = Planner(self._store, self.console)
        bench = self._bench(planner, lambda given: self._store.at(given.stage, given.key))
        judge = self.config["evaluators"]["judge"]
        reference = bench.outputs(self.contest.reference)
        theirs = self._texts(self.contest.reference, reference, "reference")
        for side in self.contest.sides:
            outputs = bench.outputs(side)
            step = bench.evaluation(side.name, outputs, reference)
            if planner.ensure(step).path.exists() or not is_paid(judge):
                continue
            ours = self._texts(side, outputs, "outputs")
            pairs = reference_pairs(self.contest.instructions, theirs.texts, ours.texts)
            real, seed = theirs.real and ours.real, verdict_seed(step.seed)
            estimate = quote(f"judging {side.name}", judge, pairs, seed=seed, sampled=real)
            self.console.message(str(estimate))
        self.console.message(
            f"Nobody was asked. {planner.missing} to build, {planner.reused} to reuse."
        )

    @property
    def _store(self) -> Store:
        return Store(Path(self.settings.runs_dir) / "store")

    def _bench(self, executor: Executor, keep: Keep) -> Bench:
        return Bench(self.config, self.settings, self.contest.instructions, executor, keep)

    def _texts(self, side: Side, outputs: Artifact, role: str) -> _Texts:
        """The side's answers as far as they are there."""
        asked = self.contest.instructions
        if isinstance(side, AnswerSet):
            return _Texts([side.texts[instruction.id] for instruction in asked], True)
        if outputs.path.exists():
            return _Texts(first_texts(outputs.path, asked), True)
        return _Texts([stand_in(self.settings.decoding.max_new_tokens, role)] * len(asked), False)

    def _write(
        self,
        folder: Path,
        reference: Artifact,
        evaluations: Mapping[str, Artifact],
        notes: Sequence[str],
    ) -> None:
        from farm.reporting.leaderboard import print_leaderboard, write_leaderboard
        from farm.standalone.scores import Judged, leaderboard, write_data

        judged = Judged(
            self.contest.instructions, self.contest.reference.name, reference, evaluations
        )
        items = judged.items()
        if items["preference"].isna().all():
            raise DataError(
                f"evaluators={self.settings.name} gave no verdict on any answer, so there is no "
                "leaderboard; the warnings above say why. Choose evaluators that can judge this."
            )
        board = leaderboard(
            judged,
            items,
            title=self.settings.name,
            excluded=self.config["data"]["headline_excludes"],
            samples=self.settings.samples,
            seed=self.settings.seed,
            notes=notes,
        )
        print_leaderboard(board, self.console.rich)
        for note in board.notes[len(notes) :]:  # the others were said when they came up
            self.console.message(f"warning: {note}")
        for path in [*write_leaderboard(board, folder), *write_data(folder, judged, items)]:
            self.console.message(str(path))


def _made(out: str) -> Path:
    """The folder of the results, there before anything is paid for."""
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"out={out}: no such folder, and none can be made ({error.strerror}). Give one that "
            "can be written to."
        ) from error
    return Path(out)
