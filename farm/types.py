"""The nouns of the sandbox: frozen records, no logic.

Ids, pairing and storage of these records live in `farm.data.records`; everything else is
functions between them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from farm.generation.stop_rules import StopRule
    from farm.protocols import Annotator, Scorer

SplitName = Literal["sft", "preference", "unlabeled", "validation", "evaluation"]
SPLITS: tuple[SplitName, ...] = ("sft", "preference", "unlabeled", "validation", "evaluation")
MEASURED_SPLITS: tuple[SplitName, ...] = ("validation", "evaluation")

Order = Literal["ab", "ba"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: str
    """`system`, `user` or `assistant`."""
    content: str


@dataclass(frozen=True, slots=True)
class Instruction:
    """What a policy is asked: a chat prefix that ends with a user's turn."""

    id: str
    """Hash of the messages alone, so duplicates share it."""
    messages: tuple[Message, ...]
    demonstration: str | None = None
    """An answer that came with the data; not necessarily a good one."""
    category: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled answer."""

    instruction_id: str
    text: str
    policy: str
    """Who wrote it: an artefact's key or a file's name."""
    sample: int
    """Index among the samples for this instruction."""
    stopped: bool
    """Whether it ended by itself, not at the token limit."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one instruction. In evaluation the reference is always `output_a`."""

    id: str
    """Hash of the messages and the unordered texts."""
    instruction: Instruction
    output_a: str
    output_b: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What a judgment was billed for. Judgments that came out of one request share it equally, so
    these are fractions; what was averaged over several requests is their sum."""

    requests: float
    prompt_tokens: float
    completion_tokens: float
    """Reasoning tokens included."""


@dataclass(frozen=True, slots=True)
class Judgment:
    """An annotator's verdict on a pair, in the pair's own orientation."""

    pair_id: str
    preference: float | None
    """P(output_b is better) in [0, 1]; 0.5 is a tie; None is "no verdict", never a default."""
    annotator: str
    order: Order
    """Which output the judge saw first."""
    draw: int = 0
    """Index of a repeated sample."""
    raw: str | None = None
    explanation: str | None = None
    strength: float | None = None
    """Positive when b is better."""
    attributes: Mapping[str, tuple[float, float]] | None = None
    """Ratings by name, (of a, of b)."""
    votes: tuple[float, ...] | None = None
    """The preferences that a wrapper combined into this one."""
    requested_model: str | None = None
    model: str | None = None
    """The model that the provider says has answered."""
    prompt_hash: str | None = None
    usage: Usage | None = None
    cost_usd: float | None = 0.0
    """What the verdict's requests are priced at, whenever they were paid; None where a price is
    not known."""
    cached: bool = False
    """Whether all of them had been answered, and paid, before."""
    latency_s: float | None = None
    noised: bool = False
    """Whether a noise or bias wrapper replaced the verdict."""
    error: str | None = None
    """Why there is no verdict."""


class LabeledPair(NamedTuple):
    """A pair with one verdict on it: what reward models and DPO learn from."""

    pair: Pair
    judgment: Judgment


@dataclass(frozen=True, slots=True)
class Decoding:
    """How answers are drawn from a policy."""

    temperature: float
    """0 is greedy; 1 samples the policy's own distribution with full support."""
    max_new_tokens: int
    control: str | None = None
    """A special token of the policy's tokenizer that goes in front of every prompt. The learner
    that taught it sets it: it is no key of a configuration."""


@dataclass(frozen=True, slots=True)
class BestOf:
    """Draw several answers and keep the one that a scorer likes best."""

    n: int
    temperature: float
    """At which they are drawn, in place of the decoding's."""
    scorer: "Scorer"


@dataclass(frozen=True, slots=True)
class Speculation:
    """Let a draft propose tokens that the policy accepts or rejects several at once: the policy's
    own law, in fewer passes."""

    draft: str
    """A directory that `transformers` loads, with the policy's tokens."""
    stop: "StopRule"
    """How many tokens it proposes."""


@dataclass(frozen=True, slots=True)
class PolicyRef:
    """A directory that `transformers` loads, and how to decode from it."""

    path: str
    decoding: Decoding
    best_of: BestOf | None = None
    speculation: Speculation | None = None

    @property
    def plain(self) -> bool:
        """Whether an answer is one draw from its model, given the prompt alone. Of other policies
        the model's log-probabilities are not the answers', so their divergence is not known."""
        return self.best_of is None and self.decoding.control is None


@dataclass(frozen=True, slots=True)
class ScorerRef:
    """How to build a `Scorer`: a config with `_target_`, for `farm.config.build`."""

    config: Mapping[str, Any] = field(default_factory=dict)


Need = Literal[
    "instructions",
    "demonstrations",
    "judgments",
    "reward",
    "annotator",
    "text",
    "policies",
    "draft",
]


DecodingNeed = Literal["draft", "head"]
"""What a way of decoding may need: a draft, an acceptance head for it."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a learner asked for through `needs`; all else is None."""

    instructions: Sequence[Instruction] | None = None
    """Prompts without answers (split `unlabeled`)."""
    demonstrations: Sequence[Instruction] | None = None
    """Instructions whose `demonstration` is not None (split `sft`; `preference` for a method whose
    start has learned from that)."""
    judgments: Sequence[LabeledPair] | None = None
    """Noisy training labels (split `preference`)."""
    reward: "Scorer | None" = None
    annotator: "Annotator | None" = None
    text: Sequence[str] | None = None
    policies: Sequence[PolicyRef] | None = None
    """Those that the learner's key `policies` names, in its order."""
    draft: PolicyRef | None = None
    """A small policy with the start's tokens, for speculative sampling."""
