"""How good the reward of a run is: on pairs of the start's answers to `validation`, and on the file
that `evaluation.reward_bench` names."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.artifacts import Artifact
from farm.builder import Executor, Step
from farm.data.reward_bench import read_reward_bench
from farm.errors import DataError
from farm.pipeline import Pipeline
from farm.seeds import derive
from farm.settings import Settings
from farm.stages.evaluation import load_items
from farm.types import SplitName

if TYPE_CHECKING:
    import pandas as pd

_SPLIT: SplitName = "validation"


class RewardQuality:
    """Of a pipeline with this configuration and executor."""

    def __init__(
        self,
        config: Mapping[str, Any],
        settings: Settings,
        executor: Executor,
        pipeline: Pipeline,
    ) -> None:
        self._config = config
        self._seed = settings.seed
        self._ensure = executor.ensure
        self._pipeline = pipeline
        bench = settings.evaluation.reward_bench
        self._bench_file = None if bench is None else Path(bench).resolve()

    def check(self) -> None:
        """Read the file of pairs, so that a wrong one ends a run before anything learns. Raises
        DataError."""
        if self._bench_file is None:
            return
        try:
            read_reward_bench(self._bench_file)
        except DataError as error:
            raise DataError(f"evaluation.reward_bench: {error}") from error

    @cached_property
    def items(self) -> Artifact:
        """Two answers of the start to each instruction, at temperature 1, scored and labelled; with
        another seed than the training labels."""
        pipeline, annotators = self._pipeline, self._config["annotators"]
        step = Step(
            "reward_quality",
            "farm.stages.reward_quality:run",
            {
                "clean": annotators["clean"],
                "noisy": annotators["train"],
                "gold": self._config["data"]["gold"],
                "split": _SPLIT,
                "limit": pipeline.limit(_SPLIT),
            },
            {
                "reward": pipeline.reward,
                "outputs": pipeline.outputs(pipeline.start, _SPLIT, 1.0, "2 samples", n=2),
                "instructions": pipeline.instructions,
            },
            seed=derive(self._seed, "stage", "reward_quality"),
            label="reward measured",
        )
        return self._ensure(step)

    @cached_property
    def bench_items(self) -> Artifact | None:
        """The pairs of the file, scored; None where there is none."""
        if self._bench_file is None:
            return None
        step = Step(
            "reward_bench",
            "farm.stages.reward_quality:bench",
            {},
            {"reward": self._pipeline.reward},
            seed=0,
            label="reward measured on a file",
            files={"path": self._bench_file},
        )
        return self._ensure(step)

    def headline(self) -> "pd.DataFrame":
        """The items of categories that count for headline figures."""
        items: pd.DataFrame = load_items(self.items.path)
        return items[~items["category"].isin(self._config["data"]["headline_excludes"])]

    def figures(self) -> dict[str, list[dict[str, Any]]]:
        """As JSON has it: the rows of `farm.evaluation.reward_figures`, `quality` on pairs of the
        start's answers, `bench` on the file's."""
        from farm.evaluation.reward_figures import bench_figures, label_figures

        found = {"quality": _rows(label_figures(self.headline(), seed=self._seed))}
        if self.bench_items is not None:
            bench = bench_figures(load_items(self.bench_items.path), seed=self._seed)
            found["bench"] = _rows(bench)
        return found


def _rows(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """With None for NaN."""
    known = frame.astype(object).where(frame.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in known.to_dict("records")]
