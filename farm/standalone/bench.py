"""The artefacts of an evaluation: what was handed in is kept, the rest is a step of the pipeline.

Keys depend on instructions, answers and judge alone, so that another file's name, a second
evaluation beside it or one more side judges nothing again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from farm.artifacts import Artifact, Store, key_of
from farm.builder import Executor, Step
from farm.data.answers import AnswerSet
from farm.data.records import write_completions, write_instructions
from farm.seeds import derive
from farm.standalone.contest import Side
from farm.standalone.policies import Policy, pretrained_node
from farm.standalone.settings import EvaluateSettings
from farm.types import SPLITS, Completion, Instruction, SplitName

_SPLIT: SplitName = "evaluation"
"""Where the instructions stand among an artefact's splits."""
_VERSION = 1
"""Of how what was handed in is written down."""


@dataclass(frozen=True)
class Given:
    """What becomes an artefact without a stage's work."""

    stage: str
    content: Sequence[Any]
    """All that it says, as JSON."""
    save: Callable[[Path], None]

    @cached_property
    def key(self) -> str:
        """The artefact's key."""
        return key_of({"stage": self.stage, "version": _VERSION, "given": self.content})


Keep = Callable[[Given], Artifact]


def keeper(store: Store, say: Callable[[str], None]) -> Keep:
    """Puts what is given into the store, once."""

    def keep(given: Given) -> Artifact:
        waiting = partial(say, f"{given.stage}: another run writes it")
        with store.building(given.stage, given.key, waiting) as build:
            if isinstance(build, Artifact):
                return build
            given.save(build.work)
            return build.publish({"stage": given.stage, "key": given.key, "results": {}})

    return keep


class Bench:
    """Makes the artefacts of one evaluation."""

    def __init__(
        self,
        config: Mapping[str, Any],
        settings: EvaluateSettings,
        instructions: Sequence[Instruction],
        executor: Executor,
        keep: Keep,
    ) -> None:
        self._config = config
        self._settings = settings
        self._asked = instructions
        self._ensure = executor.ensure
        self._keep = keep

    def _seed(self, *items: str) -> int:
        return derive(self._settings.seed, "stage", *items)

    @cached_property
    def instructions(self) -> Artifact:
        """What everybody answers."""
        return self._keep(_instructions(self._asked))

    def outputs(self, side: Side) -> Artifact:
        """The side's answers: its file's, or sampled ones."""
        if isinstance(side, AnswerSet):
            return self._keep(_answers(side, self._asked))
        step = Step(
            "outputs",
            "farm.stages.outputs:sample",
            {
                "sampler": self._config["sampler"],
                "decoding": asdict(self._settings.decoding),
                "split": _SPLIT,
                "n": 1,
                "limit": None,
            },
            {"policy": self._policy(side), "instructions": self.instructions},
            seed=self._seed("outputs", _SPLIT),
            label=f"answers of {side.name}",
        )
        return self._ensure(step)

    def _policy(self, policy: Policy) -> Artifact:
        if policy.artifact is not None:
            return policy.artifact
        nothing = self._keep(_instructions([]))  # it is the same policy whatever it is asked
        step = Step(
            "model",
            "farm.stages.model:run",
            {"model": pretrained_node(policy, self._settings)},
            {"instructions": nothing},
            seed=self._seed("model"),
            label=policy.name,
        )
        return self._ensure(step)

    def evaluation(self, name: str, outputs: Artifact, reference: Artifact) -> Step:
        """The step that judges a side's outputs against the reference's."""
        return Step(
            "evaluation",
            "farm.stages.evaluation:evaluate",
            {
                "annotator": self._config["evaluators"]["judge"],
                "judge": None,
                "gold": self._config["data"]["gold"],
                "split": _SPLIT,
                "limit": None,
            },
            {"outputs": outputs, "reference": reference, "instructions": self.instructions},
            seed=self._seed("evaluation", _SPLIT),
            label=f"{name} judged",
        )


def _instructions(asked: Sequence[Instruction]) -> Given:
    def save(folder: Path) -> None:
        for split in SPLITS:
            write_instructions(asked if split == _SPLIT else [], folder / f"{split}.parquet")

    return Given("instructions", [asdict(instruction) for instruction in asked], save)


def _answers(side: AnswerSet, asked: Sequence[Instruction]) -> Given:
    texts = [[instruction.id, side.texts[instruction.id]] for instruction in asked]

    def save(folder: Path) -> None:
        completions = [Completion(id, text, side.name, 0, stopped=True) for id, text in texts]
        write_completions(completions, folder / "completions.parquet")

    return Given("outputs", texts, save)
