"""From policies to figures: which artefact comes from which where something is measured.

policy -> outputs -> evaluations -> curve and final table, against the frozen reference.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from farm.artifacts import Artifact
from farm.builder import Step
from farm.caveats import shared_judges
from farm.errors import ConfigError, DataError
from farm.learning import Learning, Node
from farm.types import MEASURED_SPLITS, SplitName

OUTPUT_FILES = frozenset({".json", ".jsonl", ".parquet"})
"""File types that `evaluation.reference` may have where it names outputs instead of a policy."""


class Pipeline(Learning):
    """The artefacts of one run, those it is measured by included."""

    def limit(self, split: SplitName) -> int | None:
        """How many instructions of an evaluation split are looked at."""
        evaluation = self._settings.evaluation
        limits = {
            "validation": evaluation.validation_instructions,
            "evaluation": evaluation.evaluation_instructions,
        }
        return limits[split]

    def outputs(
        self, policy: Artifact, split: SplitName, temperature: float, label: str, n: int = 1
    ) -> Artifact:
        """Answers that are to be evaluated."""
        decoding = {**self._training_decoding, "temperature": temperature}
        return self._sample(policy, split, decoding, n, self.limit(split), f"{label} on {split}")

    def start_outputs(self, split: SplitName, temperature: float) -> Artifact:
        """The start's answers at one temperature."""
        return self.outputs(self.start, split, temperature, f"start at {temperature:g}")

    def longest_outputs(self, split: SplitName) -> Artifact:
        """The longest of several answers of the start: a control."""
        n = self._settings.evaluation.longest_of
        outputs = self.outputs(self.start, split, 1.0, f"{n} samples of the start", n=n)
        step = Step(
            "longest",
            "farm.stages.outputs:longest",
            {},
            {"outputs": outputs},
            0,
            f"longest of {n} on {split}",
        )
        return self._ensure(step)

    @cached_property
    def reference_choice(self) -> Artifact:
        """The start's best temperature."""
        split: SplitName = "validation"
        temperatures = self._settings.evaluation.temperatures
        asked = (*temperatures, 1.0)  # the last one is what all are compared with
        parents = {f"temperature {t:g}": self.start_outputs(split, t) for t in asked}
        step = Step(
            "reference",
            "farm.stages.evaluation:choose_reference",
            {
                "annotator": self._config["annotators"]["clean"],
                "temperatures": temperatures,
                "split": split,
                "limit": self.limit(split),
            },
            {**parents, "instructions": self.instructions},
            seed=self._seed("reference"),
            label="reference",
        )
        return self._ensure(step)

    def reference_outputs(self, split: SplitName) -> Artifact:
        """The frozen reference's answers: the start at its best temperature, or what
        `evaluation.reference` names, a policy or a file of outputs."""
        reference = self._settings.evaluation.reference
        if reference is None:
            return self.start_outputs(split, self.reference_temperature)
        if Path(reference).suffix in OUTPUT_FILES:
            return self._file_outputs(Path(reference), split)
        temperature = self._settings.decoding.temperature
        return self.outputs(self._given_policy, split, temperature, "reference")

    @cached_property
    def _given_policy(self) -> Artifact:
        """The policy that `evaluation.reference` names: one for all splits, even where it is a
        branch on the hub that moves during the run."""
        _ = self.instructions  # outside, so that what is wrong with them is not told as its fault
        try:
            return self._given(str(self._settings.evaluation.reference), "reference policy")
        except (ConfigError, DataError) as error:
            raise type(error)(f"evaluation.reference: {error}") from error

    def ask_given_reference(self) -> None:
        """Get the answers of the opponent that `evaluation.reference` names, so that a wrong one
        ends a run before anything learns."""
        if self._settings.evaluation.reference is not None:
            for split in MEASURED_SPLITS:
                self.reference_outputs(split)

    def is_reference(self, temperature: float) -> bool:
        """Whether the start at this temperature is the reference."""
        return (
            self._settings.evaluation.reference is None
            and temperature == self.reference_temperature
        )

    def reference_description(self) -> dict[str, Any]:
        """The opponent, for the report."""
        reference = self._settings.evaluation.reference
        if reference is not None:
            return {"description": reference, "path": reference, "temperature": None}
        temperature = self.reference_temperature
        return {
            "description": f"the start policy at temperature {temperature:g}, its best by the pool",
            "path": str(self.start.path),
            "temperature": temperature,
        }

    @property
    def _held_out_judge(self) -> Node | None:
        judge: Node | None = self._config["evaluators"]["judge"]
        return None if shared_judges(self._config) else judge

    @property
    def reference_temperature(self) -> float:
        """The start's best temperature."""
        temperature: float = self.reference_choice.manifest["results"]["temperature"]
        return temperature

    def _file_outputs(self, path: Path, split: SplitName) -> Artifact:
        if not path.is_file():
            raise ConfigError(
                f"evaluation.reference: no file {path}. Give a policy directory, a hub name, a "
                f"file of outputs ({', '.join(sorted(OUTPUT_FILES))}) or null."
            )
        step = Step(
            "outputs",
            "farm.stages.outputs:from_file",
            {"split": split, "limit": self.limit(split)},
            {"instructions": self.instructions},
            seed=0,
            label=f"reference outputs for {split}",
            files={"path": path.resolve()},
        )
        return self._ensure(step)

    def _measuring_nodes(self, split: SplitName) -> dict[str, Any]:
        """What measuring needs besides judges."""
        return {
            "gold": self._config["data"]["gold"],
            "split": split,
            "limit": self.limit(split),
            "sampler": self._config["sampler"],
            "decoding": self._training_decoding,
            "kl_instructions": self._settings.evaluation.kl_instructions,
        }

    def evaluation(
        self,
        outputs: Artifact,
        reference: Artifact,
        split: SplitName,
        label: str,
        policy: Artifact | None = None,
    ) -> Artifact:
        """Items of one policy's outputs against the reference's; KL where `policy` is given."""
        config = {
            "annotator": self._config["annotators"]["clean"],
            "judge": self._held_out_judge,
            **self._measuring_nodes(split),
        }
        parents = {"outputs": outputs, "reference": reference, "instructions": self.instructions}
        if self.needs_reward:
            parents["reward"] = self.reward
        if policy is not None:
            parents |= {"policy": policy, "start": self.start}
        step = Step(
            "evaluation",
            "farm.stages.evaluation:evaluate",
            config,
            parents,
            seed=self._seed("evaluation", split),
            label=f"{label} judged on {split}",
        )
        return self._ensure(step)

    def crossing(
        self,
        outputs: Artifact,
        reference: Artifact,
        split: SplitName,
        evaluators: Mapping[str, Node],
        label: str,
        parents: Mapping[str, Artifact],
    ) -> Artifact:
        """Every answer of the outputs, judged by many evaluators; scored by the `reward` and
        measured for KL from the `start` where `parents` has them and the `policy`."""
        step = Step(
            "crossing",
            "farm.stages.crossing:run",
            {"evaluators": evaluators, **self._measuring_nodes(split)},
            {
                "outputs": outputs,
                "reference": reference,
                "instructions": self.instructions,
                **parents,
            },
            seed=self._seed("crossing", split),
            label=label,
        )
        return self._ensure(step)
