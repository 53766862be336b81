"""The main job: from a configuration to a run folder with a win-rate curve."""

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.artifacts import Artifact, Store
from farm.builder import Builder, Planner, versions
from farm.caveats import run_warnings
from farm.cluster import Cluster
from farm.config import build
from farm.console import Console
from farm.estimate import estimates
from farm.measure import Figures, Measurement
from farm.mirror import open_store
from farm.pipeline import Pipeline
from farm.placement import plan
from farm.preflight import check_keys, check_packages
from farm.reward_quality import RewardQuality
from farm.run_folder import RunFolder, run_folder
from farm.settings import Settings
from farm.spending import Spending
from farm.stages.policy import training_metrics
from farm.types import SplitName

if TYPE_CHECKING:
    import pandas as pd


def run(config: Mapping[str, Any], config_yaml: str) -> int:
    """Run one configuration (resolved and checked); returns the exit status."""
    settings = Settings.from_plain(config)
    console = Console()
    runs = Path(settings.runs_dir)
    store = open_store(runs / "store", settings.mirror)
    check_packages(config)
    if settings.dry_run:
        return _plan(config, settings, store, console)
    check_keys(config)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        run_folder(runs, settings.name, config) as folder,
        closing(Cluster(settings.cluster, console.message)) as cluster,
    ):
        console.message(f"{settings.name}: {folder.path}")
        for line in plan(settings.cluster):
            console.message(line)
        builder = Builder(store, cluster, console)
        _Run(config, settings, builder, folder, console).go(config_yaml)
    return 0


def _plan(config: Mapping[str, Any], settings: Settings, store: Store, console: Console) -> int:
    for line in plan(settings.cluster):
        console.message(line)
    console.message("Planned stages, up to the learned policy (dry_run=true):")
    planner = Planner(store, console)
    pipeline = Pipeline(config, settings, planner)
    RewardQuality(config, settings, planner, pipeline).check()
    pipeline.ask_given_reference()
    pipeline.ask_given_decoding()
    for need in sorted(pipeline.decoding_needs):
        getattr(pipeline, need)
    _ = pipeline.policy
    for estimate in estimates(config, settings, pipeline):
        console.message(str(estimate))
    console.message(f"Nothing was run. {planner.missing} to build, {planner.reused} to reuse.")
    return 0


class _Run:
    """One run: learn, measure, write."""

    def __init__(
        self,
        config: Mapping[str, Any],
        settings: Settings,
        builder: Builder,
        folder: RunFolder,
        console: Console,
    ) -> None:
        self._config = config
        self._settings = settings
        self._builder = builder
        self._folder = folder
        self._console = console
        self._pipeline = Pipeline(config, settings, builder)
        self._reward_quality = RewardQuality(config, settings, builder, self._pipeline)
        self._info: dict[str, Any] = {
            "name": settings.name,
            "seed": settings.seed,
            "method": self._pipeline.method_label,
            "warnings": run_warnings(config),
            "versions": versions(),
        }

    def go(self, config_yaml: str) -> None:
        """Learn, measure, write the tables and the report."""
        for warning in self._info["warnings"]:
            self._console.message(f"warning: {warning}")
        self._folder.begin(config_yaml, self._info)
        self._reward_quality.check()
        self._pipeline.ask_given_reference()
        self._pipeline.ask_given_decoding()
        self._learn()
        figures = self._measure()
        self._write(figures)
        self._report()

    def _learn(self) -> None:
        """Build all that learns; metrics can be looked at after each of its stages."""
        tracker = build(self._config["tracking"])
        metrics = {}
        for name, artifact in self._learned():
            metrics[name] = training_metrics(artifact.path)
            self._folder.write_metrics(metrics)
            tracker.write(self._folder.path, metrics)

    def _learned(self) -> Iterator[tuple[str, Artifact]]:
        pipeline = self._pipeline
        yield "start", pipeline.start
        self._print_example(pipeline.start)
        for need in sorted(pipeline.decoding_needs):
            yield need, getattr(pipeline, need)
        if pipeline.needs_reward:
            yield "reward", pipeline.reward
        yield from pipeline.links.items()

    def _print_example(self, start: Artifact) -> None:
        """One decoded, masked training example, so that a wrong prompt format shows at once."""
        example = start.path / "example.txt"
        if example.exists():
            self._console.message(f"one training example\n{example.read_text().rstrip()}")

    def _measure(self) -> Figures:
        spending = Spending(self._pipeline)
        self._info |= {"labels": spending.judgments(), "cost_usd": spending.cost_usd()}
        excluded = frozenset(self._config["data"]["headline_excludes"])
        return Measurement(self._pipeline, self._settings, excluded).figures()

    def _write(self, figures: Figures) -> None:
        path = self._folder.path
        figures.curve.to_parquet(path / "curve.parquet", index=False)
        figures.curve_items.to_parquet(path / "curve_items.parquet", index=False)
        figures.final.to_parquet(path / "final.parquet", index=False)
        figures.final_items.to_parquet(path / "final_items.parquet", index=False)
        self._samples(figures).to_parquet(path / "samples.parquet", index=False)
        reward = self._measured_reward()  # first, since it may have something to note
        self._folder.write_info(
            {
                **self._info,
                "warnings": [*self._info["warnings"], *self._builder.notes],
                "status": "finished",
                "selected_step": figures.selected_step,
                "last_step": figures.last_step,
                "reference": self._pipeline.reference_description(),
                "reward_model": reward,
                "stages": [vars(timing) for timing in self._builder.timings],
            }
        )

    def _measured_reward(self) -> dict[str, Any] | None:
        """What the reward's training noted, and how good it is; None without a reward."""
        if not self._pipeline.needs_reward:
            return None
        results = self._pipeline.reward.manifest["results"]
        return {**results, **self._reward_quality.figures()}

    def _samples(self, figures: Figures) -> "pd.DataFrame":
        """Side-by-side answers of the reference and the selected checkpoint."""
        from farm.evaluation.samples import side_by_side
        from farm.stages.instructions import load_split
        from farm.stages.outputs import first_texts

        split: SplitName = "evaluation"
        instructions = load_split(
            self._pipeline.instructions.path, split, self._pipeline.limit(split)
        )
        references = first_texts(self._pipeline.reference_outputs(split).path, instructions)
        selected = figures.final_items.query("role == 'selected'")
        return side_by_side(
            selected, instructions, references,
            count=self._settings.evaluation.samples, seed=self._settings.seed,
        )  # fmt: skip

    def _report(self) -> None:
        from farm.analysis import load_run
        from farm.reporting.report import write_report
        from farm.reporting.tables import print_tables

        report = write_report(self._folder.path)
        print_tables(load_run(self._folder.path), self._console.rich)
        for written in ("curve.parquet", "final.parquet", "metrics.jsonl", report.name):
            self._console.message(str(self._folder.path / written))
