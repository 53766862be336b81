"""A run's figures: the curve over checkpoints on `validation`, the final table on `evaluation`.

The selected checkpoint has the highest win rate on `validation`, the earliest where they tie;
gold never selects. `evaluation` is looked at once, for the selected and the last checkpoint and
the controls (DESIGN: rules of measurement).
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from farm.artifacts import Artifact
from farm.pipeline import Pipeline
from farm.settings import Settings
from farm.spending import Spending
from farm.stages.evaluation import load_items
from farm.stages.pointers import policy_ref
from farm.stages.policy import training_metrics
from farm.types import SplitName

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, float | int | str | None]


@dataclass(frozen=True)
class Figures:
    """What a run measured."""

    curve: "pd.DataFrame"
    curve_items: "pd.DataFrame"
    final: "pd.DataFrame"
    final_items: "pd.DataFrame"
    """Items of the selected and the last checkpoint on `evaluation`; `role` says which."""
    selected_step: int
    last_step: int


@dataclass(frozen=True)
class Curve:
    """All checkpoints on `validation`, the start as step 0."""

    rows: "pd.DataFrame"
    items: "pd.DataFrame"

    @property
    def selected_step(self) -> int:
        """Of the checkpoint that is selected."""
        from farm.evaluation.selection import selected_step

        return selected_step(self.rows[self.rows["step"] > 0])

    @property
    def last_step(self) -> int:
        """Of the last checkpoint."""
        return int(self.rows["step"].max())


class Control(NamedTuple):
    """Answers of the start to `evaluation`, judged."""

    name: str
    role: str
    """reference, start or control."""
    temperature: float
    drawn: int
    """Answers drawn for one that is given."""
    items: "pd.DataFrame"


class Measurement:
    """Evaluates the policies of one pipeline."""

    def __init__(self, pipeline: Pipeline, settings: Settings, excluded: frozenset[str]) -> None:
        """`excluded` are the categories outside the headline figures."""
        self._pipeline = pipeline
        self._decoding = settings.decoding
        self._evaluation = settings.evaluation
        self._excluded = excluded
        self._seed = settings.seed

    def figures(self) -> Figures:
        """Evaluate all checkpoints, select one, and fill the final table."""
        import pandas as pd

        from farm.evaluation.curve import final_frame

        curve = self.curve()
        selected, last = curve.selected_step, curve.last_step
        final_items = [
            self.learned(step, role).assign(role=role, step=step)
            for role, step in (("selected", selected), ("last", last))
        ]
        final = [*self._control_rows(), *self._learned_rows(selected, last)]
        return Figures(
            curve.rows, curve.items, final_frame(final),
            pd.concat(final_items, ignore_index=True), selected, last,
        )  # fmt: skip

    def curve(self) -> Curve:
        """Evaluate all checkpoints."""
        import pandas as pd

        from farm.evaluation.curve import curve_frame

        rows, items = [], []
        for row, frame in self._checkpoints():
            rows.append(row)
            items.append(frame.assign(step=row["step"]))
        return Curve(curve_frame(rows), pd.concat(items, ignore_index=True))

    def learned(self, step: int, role: str) -> "pd.DataFrame":
        """Items of a checkpoint on `evaluation`."""
        return self._items(self._pipeline.checkpoint(step), "evaluation", f"{role} (step {step})")

    def drawn(self, step: int) -> int:
        """Answers that a checkpoint draws for one that it gives."""
        policy = policy_ref(self._pipeline.checkpoint(step).path, asdict(self._decoding))
        return policy.best_of.n if policy.best_of else 1

    def headline(self, items: "pd.DataFrame") -> "pd.DataFrame":
        """Those of categories that count for headline figures."""
        return items[~items["category"].isin(self._excluded)]

    def _summary(self, items: "pd.DataFrame") -> Row:
        from farm.evaluation.summary import summarize

        return {**summarize(self.headline(items), seed=self._seed)}

    def _checkpoints(self) -> Iterator[tuple[Row, "pd.DataFrame"]]:
        pipeline = self._pipeline
        spending = Spending(pipeline)
        logged = {m["step"]: m for m in training_metrics(pipeline.policy.path)}
        known: Mapping[str, Any] = pipeline.policy.manifest["results"]["checkpoints"]
        policies: dict[int, Artifact] = {0: pipeline.start}
        policies |= {int(s): pipeline.checkpoint(int(s)) for s in sorted(known, key=int)}
        for step, policy in policies.items():
            items = self._items(policy, "validation", f"step {step}")
            training = {
                "step": step,
                "episodes": logged.get(step, {}).get("episodes", 0 if step == 0 else None),
                "wall_s": known[str(step)]["wall_s"] if step else 0.0,
                "judgments_used": spending.judgments(step),
                "cost_usd": spending.cost_usd(step),
            }
            yield {**self._summary(items), **training}, items

    def _items(self, policy: Artifact, split: SplitName, label: str) -> "pd.DataFrame":
        outputs = self._pipeline.answers(policy, split, label)
        return self._judge(outputs, split, label, policy)

    def _judge(
        self, outputs: Artifact, split: SplitName, label: str, policy: Artifact | None = None
    ) -> "pd.DataFrame":
        reference = self._pipeline.reference_outputs(split)
        evaluation = self._pipeline.evaluation(outputs, reference, split, label, policy)
        frame: pd.DataFrame = load_items(evaluation.path)
        return frame

    def controls(self) -> Iterator[Control]:
        """The start at its temperatures and its longest answers, against the reference."""
        pipeline = self._pipeline
        for temperature in self._evaluation.temperatures:
            name = f"start at temperature {temperature:g}"
            outputs = pipeline.start_outputs("evaluation", temperature)
            role = "reference" if pipeline.is_reference(temperature) else "start"
            yield Control(name, role, temperature, 1, self._judge(outputs, "evaluation", name))
        items = self._judge(pipeline.longest_outputs("evaluation"), "evaluation", "longest answer")
        drawn = self._evaluation.longest_of
        yield Control("start, longest answer", "control", 1.0, drawn, items)

    def _control_rows(self) -> Iterator[Row]:
        for control in self.controls():
            yield {
                **self._summary(control.items), "name": control.name, "role": control.role,
                "temperature": control.temperature,
            }  # fmt: skip

    def _learned_rows(self, selected: int, last: int) -> Iterator[Row]:
        for role, step in (("selected", selected), ("last", last)):
            items = self.learned(step, role)
            common: Row = {"step": step, "temperature": self._decoding.temperature}
            yield {
                **self._summary(items), **common, "name": f"{role} (step {step})", "role": role,
            }  # fmt: skip
        for category in sorted(self._excluded & set(items["category"])):
            yield from self._excluded_rows(selected, category, common)

    def _excluded_rows(self, selected: int, category: str, common: Row) -> Iterator[Row]:
        from farm.evaluation.summary import summarize

        items = self.learned(selected, "selected")
        summary = summarize(items[items["category"] == category], seed=self._seed)
        name = f"selected, only category {category}"
        yield {**summary, **common, "step": selected, "name": name, "role": "excluded"}
