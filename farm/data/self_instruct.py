"""Tasks that a policy writes itself (Self-Instruct, Wang et al. 2022, arXiv 2212.10560): the prompt
that asks for one, how its reply is read, and demonstrations of the craft.

Self-Instruct and I-SHEEP have a model go on with one long list of tasks; here each request shows
some tasks and asks for one more, so that chat models and the smallest ones can be asked alike.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, NamedTuple

from farm.checks import require, require_at_least
from farm.data.records import last_user_text, user_instruction
from farm.protocols import InstructionSource
from farm.seeds import generator, uniform
from farm.types import Instruction, SplitName

_ASK = "Write one more task like these, but different from all of them. Reply with the task alone."
_NEXT = re.compile(r"\n\s*Task \d+:.*", re.DOTALL)
_NUMBER = re.compile(r"^Task \d+:\s*")

TASK_WRITING = "task_writing"
"""The category of requests for a task."""
LEAK = "<noinput>"
"""What Self-Instruct's prompt has where a task comes without input."""


class Task(NamedTuple):
    """What is to be done, and with what."""

    instruction: str
    input: str
    """Empty where the instruction says it all."""

    @property
    def text(self) -> str:
        """As one turn of a user (`farm.data.rows`)."""
        return f"{self.instruction}\n\n{self.input}" if self.input else self.instruction


def ask_for_task(examples: Sequence[str]) -> Instruction:
    """The request for one more task than these."""
    shown = [f"Task {number}: {text}" for number, text in enumerate(examples, start=1)]
    return user_instruction("\n\n".join([_ASK, *shown]), category=TASK_WRITING)


def read_task(reply: str) -> Task:
    """The first task of a reply; what stands behind `Input:` on a line of its own is its input."""
    text = _NUMBER.sub("", _NEXT.sub("", reply.strip()), count=1)
    instruction, _, given = text.partition("\nInput:")
    return Task(instruction.strip(), given.strip())


class WithTaskWriting:
    """An `InstructionSource`: another one, whose split `sft` also demonstrates how tasks are
    written, so that a small model trained on it can write some itself.

    Each of the `tasks` demonstrations shows `examples` of the split's instructions and answers with
    another one; the share `slips` of them is written carelessly, breaking off in the middle or with
    the leak `<noinput>` behind it, each as often. Raises ConfigError for values out of range.
    """

    stage_version: ClassVar[int] = 1

    def __init__(
        self,
        *,
        source: InstructionSource,
        tasks: int,
        examples: int,
        slips: float = 0.0,
        seed: int = 0,
    ) -> None:
        require_at_least("data.tasks", tasks, 0)
        require_at_least("data.examples", examples, 1)
        require("data.slips", slips, "a share in [0, 1]", 0 <= slips <= 1)
        self._source = source
        self._tasks = tasks
        self._examples = examples
        self._slips = slips
        self._seed = seed

    def load(self) -> Mapping[SplitName, Sequence[Instruction]]:
        """All five splits."""
        splits = self._source.load()
        texts = [last_user_text(row) for row in splits["sft"]]
        require(
            "data.examples", self._examples, f"below the split's {len(texts)} rows",
            self._tasks == 0 or self._examples < len(texts),
        )  # fmt: skip
        written = [self._demonstration(number, texts) for number in range(self._tasks)]
        return {**splits, "sft": [*splits["sft"], *written]}

    def _demonstration(self, number: int, texts: Sequence[str]) -> Instruction:
        rng = generator(self._seed, TASK_WRITING, number)
        *shown, own = rng.choice(len(texts), self._examples + 1, replace=False)
        asked = ask_for_task([texts[place] for place in shown])
        return replace(asked, demonstration=self._written(texts[own], number))

    def _written(self, task: str, number: int) -> str:
        point = uniform(self._seed, TASK_WRITING, "slip", number)
        if point >= self._slips:
            return task
        words = task.split()
        return f"{task} {LEAK}" if 2 * point < self._slips else " ".join(words[: len(words) // 2])
