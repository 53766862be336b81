"""Which artefact comes from which.

instructions -> sft -> pairs, judgments -> reward -> policy and checkpoints -> outputs ->
evaluations -> curve and final table. Each method asks for what it needs, so DPO never trains a
reward model; what is there is reused.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

from farm.artifacts import Artifact
from farm.builder import Executor, Step
from farm.caveats import shared_judges
from farm.errors import ConfigError, DataError
from farm.protocols import RewardLearner
from farm.seeds import derive
from farm.settings import DataKeys, Settings
from farm.stages.job import CHECKPOINT_STAGE, checkpoint_key
from farm.targets import target_class
from farm.types import MEASURED_SPLITS, Need, SplitName

Node = Mapping[str, Any]

OUTPUT_FILES = frozenset({".json", ".jsonl", ".parquet"})
"""File types that `evaluation.reference` may have where it names outputs instead of a policy."""


class Pipeline:
    """The artefacts of one run, each made when it is first asked for."""

    def __init__(self, config: Node, settings: Settings, executor: Executor) -> None:
        self._config = config
        self._settings = settings
        self._ensure = executor.ensure
        self._training_decoding = {
            "temperature": 1.0,
            "max_new_tokens": settings.decoding.max_new_tokens,
        }

    def _seed(self, *items: str) -> int:
        return derive(self._settings.seed, "stage", *items)

    @cached_property
    def instructions(self) -> Artifact:
        """All splits."""
        step = Step(
            "instructions",
            "farm.stages.instructions:run",
            {"data": source_node(self._config)},
            {},
            seed=0,
            label="instructions",
        )
        return self._ensure(step)

    @cached_property
    def model(self) -> Artifact:
        """The policy before any learning."""
        return self._model(self._config["model"], "model")

    def _model(self, node: Node, label: str) -> Artifact:
        step = Step(
            "model",
            "farm.stages.model:run",
            {"model": node},
            {"instructions": self.instructions},
            seed=self._seed("model"),
            label=label,
        )
        return self._ensure(step)

    @cached_property
    def start(self) -> Artifact:
        """The policy that learning begins from, also the KL anchor."""
        starts: dict[str, Callable[[], Artifact]] = {
            "sft": lambda: self._fit(
                self._config["sft"], class_label(self._config["sft"]), self.model, "sft"
            ),
            "instruct": lambda: self.model,
        }
        return starts[self._settings.start]()

    @cached_property
    def pairs(self) -> Artifact:
        """The start's own answers, to be labelled two by two."""
        pairs = self._settings.pairs
        decoding = {**self._training_decoding, "temperature": pairs.temperature}
        return self._sample(
            self.start,
            "preference",
            decoding,
            2 * pairs.per_instruction,
            pairs.instructions,
            "pairs",
        )

    @property
    def judgments_seed(self) -> int:
        """Of the annotators that label."""
        return self._seed("judgments")

    @cached_property
    def judgments(self) -> Artifact:
        """Labelled pairs of the start's own answers."""
        step = Step(
            "judgments",
            "farm.stages.judgments:run",
            {"annotator": self._config["annotators"]["train"]},
            {"outputs": self.pairs, "instructions": self.instructions},
            seed=self.judgments_seed,
            label="judgments",
        )
        return self._ensure(step)

    @cached_property
    def reward(self) -> Artifact:
        """The reward model, or the scorer that the config names in its place."""
        node = self._config["reward"]
        if not self._has_reward_learner:
            step = Step(
                "reward", "farm.stages.reward:given", {"reward": node}, {}, 0, "reward (given)"
            )
            return self._ensure(step)
        step = Step(
            "reward",
            "farm.stages.reward:run",
            {"reward": node, **self._training_nodes()},
            {
                "start": self.start,
                "judgments": self.judgments,
                "instructions": self.instructions,
            },
            seed=self._seed("reward"),
            label="reward",
            together=True,
        )
        return self._ensure(step)

    @property
    def _needs(self) -> frozenset[Need]:
        needs: frozenset[Need] = target_class(self._config["method"]["_target_"]).needs
        return needs

    @property
    def needs_reward(self) -> bool:
        """Whether the method learns from a reward."""
        return "reward" in self._needs

    @property
    def learns_reward(self) -> bool:
        """Whether that reward is learned, from labels."""
        return self.needs_reward and self._has_reward_learner

    @property
    def _has_reward_learner(self) -> bool:
        return issubclass(target_class(self._config["reward"]["_target_"]), RewardLearner)

    @property
    def uses_judgments(self) -> bool:
        """Whether the method, itself or through its reward, learns from labels that are there
        before it begins."""
        return "judgments" in self._needs or self.learns_reward

    @cached_property
    def policy(self) -> Artifact:
        """What the method learned. Where the start has learned from the demonstrations of the
        split `sft`, it goes on with those of `preference`."""
        splits: dict[str, SplitName] = {"sft": "preference", "instruct": "sft"}
        split = splits[self._settings.start]
        return self._fit(self._config["method"], self.method_label, self.start, split)

    @property
    def method_label(self) -> str:
        """The learner's class in small letters: what its stage is called."""
        return class_label(self._config["method"])

    def checkpoint(self, step: int) -> Artifact:
        """The method's policy at one step."""
        key = checkpoint_key(self.policy.key, step)
        return Artifact(
            CHECKPOINT_STAGE, key, self.policy.path.parent.parent / CHECKPOINT_STAGE / key
        )

    def _training_nodes(self) -> dict[str, Any]:
        return {"tuning": self._config["tuning"], "decoding": self._training_decoding}

    def _fit(
        self, learner: Node, label: str, start: Artifact, demonstrations: SplitName
    ) -> Artifact:
        needs = target_class(learner["_target_"]).needs
        config = {"learner": learner, **self._training_nodes()}
        parents = {"start": start, "instructions": self.instructions}
        if "judgments" in needs:
            parents["judgments"] = self.judgments
        if "reward" in needs:
            parents["reward"] = self.reward
        if needs & {"demonstrations", "text"}:
            config["demonstrations"] = demonstrations
        if "annotator" in needs:
            config["annotator"] = self._config["annotators"]["train"]
        run, seed = "farm.stages.policy:run", self._seed("policy", label)
        return self._ensure(Step("policy", run, config, parents, seed, label, together=True))

    def _sample(
        self,
        policy: Artifact,
        split: SplitName,
        decoding: Node,
        n: int,
        limit: int | None,
        label: str,
    ) -> Artifact:
        """Answers of a policy; one seed per split, so that policies share random numbers."""
        step = Step(
            "outputs",
            "farm.stages.outputs:sample",
            {
                "sampler": self._config["sampler"],
                "decoding": decoding,
                "split": split,
                "n": n,
                "limit": limit,
            },
            {"policy": policy, "instructions": self.instructions},
            seed=self._seed("outputs", split),
            label=label,
        )
        return self._ensure(step)

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
        node = {
            "_target_": "farm.models.pretrained.Pretrained",
            "path": self._settings.evaluation.reference,
            "max_prompt_tokens": self._config["model"]["max_prompt_tokens"],
            "max_new_tokens": self._settings.decoding.max_new_tokens,
        }
        _ = self.instructions  # outside, so that what is wrong with them is not told as its fault
        try:
            return self._model(node, "reference policy")
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


def source_node(config: Node) -> dict[str, Any]:
    """The node of the instruction source: `data` without its keys for measuring."""
    for_measuring = {field.name for field in fields(DataKeys)}
    return {k: v for k, v in config["data"].items() if k not in for_measuring}


def class_label(node: Node) -> str:
    """The name of a node's class in small letters."""
    return str(node["_target_"]).rpartition(".")[2].lower()
