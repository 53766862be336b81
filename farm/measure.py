"""A run's figures: the curve over checkpoints on `validation`, the final table on `evaluation`.

The selected checkpoint has the highest win rate on `validation`, the earliest where they tie;
gold never selects. `evaluation` is looked at once, for the selected and the last checkpoint and
the controls (DESIGN: rules of measurement).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from farm.artifacts import Artifact
from farm.pipeline import Pipeline
from farm.stages.evaluation import load_items
from farm.stages.policy import training_metrics

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


class Measurement:
    """Evaluates the policies of one pipeline."""

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        temperature: float,
        temperatures: list[float],
        excluded: frozenset[str],
        seed: int,
    ) -> None:
        self._pipeline = pipeline
        self._temperature = temperature
        self._temperatures = temperatures
        self._excluded = excluded
        self._seed = seed

    def figures(self, *, labels: int, cost_usd: float | None) -> Figures:
        """Evaluate all checkpoints, select one, and fill the final table."""
        import pandas as pd

        from farm.evaluation.curve import curve_frame, final_frame
        from farm.evaluation.selection import selected_step

        used = {"judgments_used": labels, "cost_usd": cost_usd}
        rows, items = [], []
        for row, frame in self._checkpoints():
            rows.append({**row, **used})
            items.append(frame.assign(step=row["step"]))
        curve = curve_frame(rows)
        selected = selected_step(curve[curve["step"] > 0])
        last = int(curve["step"].max())
        final_items = [
            self._learned(step, f"{role} (step {step})").assign(role=role, step=step)
            for role, step in (("selected", selected), ("last", last))
        ]
        final = [*self._controls(), *self._learned_rows(selected, last)]
        return Figures(
            curve, pd.concat(items, ignore_index=True), final_frame(final),
            pd.concat(final_items, ignore_index=True), selected, last,
        )  # fmt: skip

    def _summary(self, items: "pd.DataFrame") -> Row:
        from farm.evaluation.summary import summarize

        return {**summarize(items[~items["category"].isin(self._excluded)], seed=self._seed)}

    def _checkpoints(self) -> Iterator[tuple[Row, "pd.DataFrame"]]:
        pipeline = self._pipeline
        start = pipeline.start
        logged = {m["step"]: m for m in training_metrics(pipeline.policy.path)}
        known: Mapping[str, Any] = pipeline.policy.manifest["results"]["checkpoints"]
        policies: dict[int, Artifact] = {0: start}
        policies |= {int(s): pipeline.checkpoint(int(s)) for s in sorted(known, key=int)}
        for step, policy in policies.items():
            items = self._items(policy, "validation", f"step {step}")
            training = {
                "step": step,
                "episodes": logged.get(step, {}).get("episodes", 0 if step == 0 else None),
                "wall_s": known[str(step)]["wall_s"] if step else 0.0,
            }
            yield {**self._summary(items), **training}, items

    def _items(self, policy: Artifact, split: Any, label: str) -> "pd.DataFrame":
        outputs = self._pipeline.outputs(policy, split, self._temperature, label)
        return self._judge(outputs, split, label, policy)

    def _judge(
        self, outputs: Artifact, split: Any, label: str, policy: Artifact | None = None
    ) -> "pd.DataFrame":
        reference = self._pipeline.reference_outputs(split)
        evaluation = self._pipeline.evaluation(outputs, reference, split, label, policy)
        frame: pd.DataFrame = load_items(evaluation.path)
        return frame

    def _learned(self, step: int, label: str) -> "pd.DataFrame":
        return self._items(self._pipeline.checkpoint(step), "evaluation", label)

    def _controls(self) -> Iterator[Row]:
        """The start at its temperatures and its longest answers, against the reference."""
        pipeline = self._pipeline
        for temperature in self._temperatures:
            name = f"start at temperature {temperature:g}"
            items = self._judge(
                pipeline.start_outputs("evaluation", temperature), "evaluation", name
            )
            role = "reference" if pipeline.is_reference(temperature) else "start"
            yield {**self._summary(items), "name": name, "role": role, "temperature": temperature}
        items = self._judge(pipeline.longest_outputs("evaluation"), "evaluation", "longest answer")
        yield {
            **self._summary(items), "name": "start, longest answer", "role": "control",
            "temperature": 1.0,
        }  # fmt: skip

    def _learned_rows(self, selected: int, last: int) -> Iterator[Row]:
        for role, step in (("selected", selected), ("last", last)):
            items = self._learned(step, f"{role} (step {step})")
            common: Row = {"step": step, "temperature": self._temperature}
            yield {
                **self._summary(items), **common, "name": f"{role} (step {step})", "role": role,
            }  # fmt: skip
        for category in sorted(self._excluded & set(items["category"])):
            yield from self._excluded_rows(selected, category, common)

    def _excluded_rows(self, selected: int, category: str, common: Row) -> Iterator[Row]:
        from farm.evaluation.summary import summarize

        items = self._learned(selected, f"selected (step {selected})")
        summary = summarize(items[items["category"] == category], seed=self._seed)
        name = f"selected, only category {category}"
        yield {**summary, **common, "step": selected, "name": name, "role": "excluded"}
