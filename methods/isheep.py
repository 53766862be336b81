"""I-SHEEP (arXiv 2408.08072): a policy writes tasks, answers them, assesses its
answers, and learns from those it finds good.

A round, with the policy of the round before:
1. tasks      few-shot from the seed tasks, one per request (`farm.data.self_instruct`); those that
              break a rule are dropped (`methods.isheep_filters`).
2. answers    to the tasks as they are; those that break a rule are dropped.
3. assessment by `inputs.reward`, a number for each answer: in `conf/reward/self_assessment.yaml`
              the lower of two scores from 1 to 10, one for quality and one for how well the
              task was followed.
4. selection  of those that reach a threshold.
5. training   SFT of the base, the policy that all began from, on this round's rows alone.

The paper's numbers: 175 seed tasks, 3 of them shown, 10,000 tasks a round, a threshold of 8 (9 in
the released scripts), up to 5 rounds. In the scripts the assessor is the fixed base model in every
round; here it is whoever the reward asks. The scripts draw seed tasks by 1 / perplexity; here
all are as likely. `selection` and `training` hold what is compared with the paper's choices.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from farm.checks import require_at_least
from farm.data.candidates import FILE, Candidate, outcomes, read_candidates, to_json
from farm.data.diversity import distinct_n
from farm.data.records import last_user_text
from farm.data.self_instruct import Task, ask_for_task, read_task
from farm.errors import DataError
from farm.scorers.pooled import pooled_scores
from farm.seeds import derive, generator
from farm.training.drawn import drawn_answers
from farm.training.links import link
from farm.types import Inputs, Instruction, Need, PolicyRef
from methods.isheep_filters import Draft, broken_by_answer, broken_by_tasks
from methods.isheep_variants import AtLeast, FromBase, Rows, Selection, Training
from methods.sft import SFT

if TYPE_CHECKING:
    from farm.context import Context
    from farm.protocols import FloatArray

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ISheep(SFT):
    """Takes its seed tasks from `inputs.instructions` and its assessment from `inputs.reward`.
    Metrics are those of `methods.sft.SFT`, and of each round: kept_share (of all tasks written),
    distinct_1 and distinct_2 of these (`farm.data.diversity`), and prompts, tasks answered so far.

    What became of each task of a round stands in `candidates-ROUND.json`
    (`farm.data.candidates`). A later round that keeps nothing ends the learning early, which is
    noted; raises `DataError` where the first one does, or where there are too few seed tasks.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"instructions", "reward"})

    rounds: int = 3
    tasks: int = 1500
    """Written in a round."""
    seed_tasks: int = 175
    examples: int = 3
    """Seed tasks shown in a request for another."""
    temperature: float = 0.7
    """At which tasks and answers are drawn."""
    selection: Selection = field(default_factory=AtLeast)
    training: Training = field(default_factory=FromBase)
    rollout_batch_size: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("rounds", "tasks", "seed_tasks", "examples", "rollout_batch_size"):
            require_at_least(key, getattr(self, key), 1)
        require_at_least("temperature", self.temperature, 0)
        require_at_least("seed_tasks", self.seed_tasks, self.examples)

    def fit(self, start: PolicyRef, inputs: Inputs, context: "Context") -> PolicyRef:
        """What the last round made."""
        latest, before, prompts = start, 0, 0
        kept: list[Rows] = []
        for number in range(self.rounds):
            candidates = self._candidates(latest, inputs, number, context)
            kept.append([c.demonstration for c in candidates if c.kept])
            if not kept[-1]:
                _starved(number, candidates, context)
                break
            lesson = self.training.lesson(start, latest, kept)
            steps = self.steps(len(lesson.rows))
            prompts += sum(candidate.answer is not None for candidate in candidates)
            part = link(
                context,
                f"round-{number + 1}",
                derive(context.seed, "round", number),
                before=before,
                total=before + (self.rounds - number) * steps,
                also={**_figures(candidates), "prompts": prompts},
            )
            latest = super().fit(lesson.start, Inputs(demonstrations=lesson.rows), part)
            before += steps
        return latest

    def _candidates(
        self, policy: PolicyRef, inputs: Inputs, number: int, context: "Context"
    ) -> list[Candidate]:
        """The round's tasks and what became of them; each part is there once, whatever happens."""
        path = context.work / FILE.format(round=number + 1)
        if not path.exists():
            found = self._assessed(policy, inputs, number, context)
            context.keep(path.name, to_json(found))
            logger.info("round %d: %s", number + 1, dict(outcomes(found)))
            return found
        return read_candidates(path)

    def _assessed(
        self, policy: PolicyRef, inputs: Inputs, number: int, context: "Context"
    ) -> list[Candidate]:
        seeds = self._seed_tasks(inputs.instructions or (), context.seed)
        tasks = self._tasks(policy, seeds, number, context)
        rules = list(broken_by_tasks(tasks, seeds))
        sound = [task for task, rule in zip(tasks, rules, strict=True) if rule is None]
        answers = iter(self._answers(policy, sound, number, context))
        drafted = [
            _drafted(task, rule) if rule else _answered(Draft(task, next(answers)))
            for task, rule in zip(tasks, rules, strict=True)
        ]
        passed = [candidate for candidate in drafted if candidate.dropped_by is None]
        scores_N = self._scores(inputs, passed, context)
        kept_N = self.selection.kept(scores_N, seed=derive(context.seed, "selection", number))
        judged = iter(zip(scores_N.tolist(), kept_N.tolist(), strict=True))
        return [_judged(c, *next(judged)) if c.dropped_by is None else c for c in drafted]

    def _seed_tasks(self, instructions: Sequence[Instruction], seed: int) -> list[str]:
        """The same in every round."""
        if len(instructions) < self.seed_tasks:
            raise DataError(
                f"I-SHEEP needs {self.seed_tasks} seed tasks, and the split `unlabeled` has "
                f"{len(instructions)} instructions. Give more, or set method.seed_tasks lower."
            )
        order = generator(seed, "seed tasks").permutation(len(instructions))
        return [last_user_text(instructions[place]) for place in order[: self.seed_tasks]]

    def _tasks(
        self, policy: PolicyRef, seeds: Sequence[str], number: int, context: "Context"
    ) -> list[Task]:
        """Written by the policy; a request that comes twice gets the same reply twice."""
        rng = generator(context.seed, "examples", number)
        shown = [rng.choice(len(seeds), self.examples, replace=False) for _ in range(self.tasks)]
        asked = [ask_for_task([seeds[place] for place in places]) for places in shown]
        replies = self._replies(policy, asked, "tasks", number, context)
        return [read_task(reply) for reply in replies]

    def _answers(
        self, policy: PolicyRef, tasks: Sequence[Task], number: int, context: "Context"
    ) -> list[str]:
        """The policy's own."""
        asked = [_drafted(task, None).demonstration for task in tasks]
        return self._replies(policy, asked, "answers", number, context)

    def _replies(
        self,
        policy: PolicyRef,
        asked: Sequence[Instruction],
        what: str,
        number: int,
        context: "Context",
    ) -> list[str]:
        """One to each request; kept in `WHAT-ROUND.json`."""
        from farm.generation.sampler import FarmSampler

        path = context.work / f"{what}-{number + 1}.json"
        if path.exists():
            known: list[str] = json.loads(path.read_text(encoding="utf-8"))
            return known
        decoding = replace(policy.decoding, temperature=self.temperature)
        sampler = FarmSampler(
            PolicyRef(policy.path, decoding),
            batch_size=self.rollout_batch_size,
            max_prompt_tokens=self.max_prompt_tokens,
            device=context.device,
        )
        replies = drawn_answers(sampler, asked, context, seed=derive(context.seed, what, number))
        context.keep(path.name, json.dumps(replies, ensure_ascii=False))
        return replies

    def _scores(
        self, inputs: Inputs, passed: Sequence[Candidate], context: "Context"
    ) -> "FloatArray":
        """What the assessment says [N], NaN where it says nothing."""
        assert inputs.reward is not None
        mine = context.ranks.share(passed)
        scores = pooled_scores(
            inputs.reward,
            context.scorers,
            [candidate.demonstration for candidate in mine],
            [candidate.answer or "" for candidate in mine],
            _alive(context, len(mine)),
        )
        return np.array(context.ranks.gather(scores.tolist()), dtype=np.float64)


def _alive(context: "Context", total: int) -> Callable[[int], None]:
    """Hears how many of a round's requests are done."""
    report = context.on_progress
    return lambda done: report(done, total, {}) if report is not None else None


def _drafted(task: Task, rule: str | None) -> Candidate:
    return Candidate(task.instruction, task.input, None, rule, None, kept=False)


def _answered(draft: Draft) -> Candidate:
    return replace(_drafted(draft.task, broken_by_answer(draft)), answer=draft.answer)


def _judged(candidate: Candidate, score: float, kept: bool) -> Candidate:
    return replace(candidate, score=None if np.isnan(score) else score, kept=kept)


def _figures(candidates: Sequence[Candidate]) -> dict[str, float]:
    """Of a round's tasks."""
    texts = [Task(candidate.instruction, candidate.input).text for candidate in candidates]
    return {
        "kept_share": sum(candidate.kept for candidate in candidates) / len(candidates),
        "distinct_1": distinct_n(texts, 1),
        "distinct_2": distinct_n(texts, 2),
    }


def _starved(number: int, candidates: Sequence[Candidate], context: "Context") -> None:
    """Say that a round kept nothing."""
    told = ", ".join(f"{count} {what}" for what, count in outcomes(candidates).items())
    if number == 0:
        raise DataError(
            f"I-SHEEP kept none of its first round's tasks ({told}). A policy that can write and "
            "answer tasks, or a lower method.selection.threshold, is needed."
        )
    context.note(f"I-SHEEP ended after round {number}: the next one kept nothing ({told}).")
