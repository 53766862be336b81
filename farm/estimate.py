"""What annotation will take, before anything is paid (`dry_run=true`)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from farm.chains import links_of, needs_of
from farm.config import build, unpaid
from farm.data.records import make_pair
from farm.learning import source_node
from farm.pipeline import Pipeline
from farm.protocols import RewardLearner
from farm.settings import Settings
from farm.stages.instructions import load_split
from farm.stages.judgments import pairs_of
from farm.stages.labelling import accounts
from farm.targets import target_class
from farm.types import Instruction, Pair, SplitName

_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Estimate:
    """Of one use of annotators that are paid for."""

    what: str
    pairs: int
    requests: float
    prompt_tokens: float
    completion_tokens: float
    """At most: as many as the judges may write."""
    usd: float | None
    """What is not in a cache yet; None where a price is not known."""
    sampled: bool
    """Whether the answers are there already; if not, the longest possible ones are assumed."""

    def __str__(self) -> str:
        usd = "price not known (give the endpoint a `price`)" if self.usd is None else None
        answers = "" if self.sampled else "; answers not sampled yet, assumed as long as allowed"
        return (
            f"  {self.what}: {self.pairs:,} pairs, {self.requests:,.0f} requests still to pay, "
            f"about {self.prompt_tokens:,.0f} prompt and at most {self.completion_tokens:,.0f} "
            f"new tokens, {usd or f'at most ${self.usd:,.2f}'}{answers}"
        )


def estimates(
    config: Mapping[str, Any], settings: Settings, pipeline: Pipeline
) -> Iterator[Estimate]:
    """What labels, feedback while learning, measuring the reward model and judging one policy on
    `validation` take, as far as the run asks for them; programs are free and give none."""
    annotators, judge = config["annotators"], config["evaluators"]["judge"]
    needs = needs_of(config["method"])
    learns_reward = issubclass(target_class(config["reward"]["_target_"]), RewardLearner)
    train, clean = ((f"annotators.{name}", annotators[name]) for name in ("train", "clean"))
    if "judgments" in needs or ("reward" in needs and learns_reward):
        pairs, sampled = _label_pairs(config, settings, pipeline)
        yield from _quotes("labels", [train], pairs, sampled, pipeline.judgments_seed)
    if "annotator" in needs:
        pairs = _feedback_pairs(config, settings, pipeline)
        yield from _quotes("feedback while learning", [train], pairs)
    rows = _instructions(config, pipeline, "validation", pipeline.limit("validation"))
    pairs = [_longest_pair(row, settings, 0) for row in rows]
    if "reward" in needs:
        yield from _quotes("measuring the reward model", [train, clean], pairs)
    judges = [("annotators.clean", annotators["clean"]), ("evaluators.judge", judge)]
    yield from _quotes("judging one policy on validation", judges, pairs)


def _quotes(
    what: str,
    judges: Iterable[tuple[str, Mapping[str, Any] | None]],
    pairs: Sequence[Pair],
    sampled: bool = False,
    seed: int = 0,
) -> Iterator[Estimate]:
    for name, node in judges:
        if node is not None and is_paid(node):
            yield quote(f"{what} ({name})", node, pairs, seed=seed, sampled=sampled)


def is_paid(node: Mapping[str, Any]) -> bool:
    """Whether asking this annotator asks, or writes down, what is paid for."""
    return bool(unpaid(node) != node)


def quote(
    what: str,
    node: Mapping[str, Any],
    pairs: Sequence[Pair],
    *,
    seed: int,
    sampled: bool,
    draws: int = 1,
) -> Estimate:
    """What asking an annotator about these pairs, so many times, takes. With the seed that it will
    be asked with, what is in its cache is known to be free: orders and pools depend on it."""
    annotator = build(unpaid(node))
    rounds = [annotator.annotate(pairs, seed=seed, draw=draw) for draw in range(draws)]
    bill = accounts([judgment for one in rounds for judgment in one if not judgment.cached])
    return Estimate(
        what,
        len(pairs),
        bill["requests"],
        bill["prompt_tokens"],
        bill["completion_tokens"],
        bill["cost_usd"],
        sampled,
    )


def _label_pairs(
    config: Mapping[str, Any], settings: Settings, pipeline: Pipeline
) -> tuple[list[Pair], bool]:
    """The pairs to label, and whether they are the real ones."""
    if pipeline.pairs.path.exists():
        return pairs_of(pipeline.pairs.path, pipeline.instructions.path), True
    rows = _instructions(config, pipeline, "preference", settings.pairs.instructions)
    numbers = range(settings.pairs.per_instruction)
    return [_longest_pair(row, settings, number) for row in rows for number in numbers], False


def _feedback_pairs(
    config: Mapping[str, Any], settings: Settings, pipeline: Pipeline
) -> list[Pair]:
    """As many as the key `judgments` of the learner's links, their budget, allows; none where they
    have no such key, for then nobody knows."""
    rows = _instructions(config, pipeline, "unlabeled", None)
    budget = range(sum(link.get("judgments", 0) for link in links_of(config["method"]).values()))
    return [_longest_pair(rows[n % len(rows)], settings, n // len(rows)) for n in budget]


def _instructions(
    config: Mapping[str, Any], pipeline: Pipeline, split: SplitName, limit: int | None
) -> Sequence[Instruction]:
    if pipeline.instructions.path.exists():
        return load_split(pipeline.instructions.path, split, limit)
    rows: Sequence[Instruction] = build(source_node(config)).load()[split]
    return rows[:limit]


def _longest_pair(instruction: Instruction, settings: Settings, number: int) -> Pair:
    tokens = settings.decoding.max_new_tokens
    return make_pair(instruction, *(stand_in(tokens, f"{number} {letter}") for letter in "ab"))


def stand_in(max_new_tokens: int, name: str) -> str:
    """A text with as many characters as a policy may write, different for each name."""
    return f"{name} ".ljust(max_new_tokens * _CHARACTERS_PER_TOKEN, "x")
