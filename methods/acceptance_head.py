"""SpecDec++'s acceptance head (Huang, Guo and Wang 2024, arXiv 2405.19715): when does the policy
accept what the draft proposes?

The policy p, which is the start, answers instructions with X. At each position the draft q proposes
Y_i ~ q(. | X_<i), which p would accept with probability a_i = min(1, p(Y_i)/q(Y_i)): a soft label.
The draft then reads Z, in which Z_i is X_i with probability `mixing` and else Y_i, so that it sees
its own tokens as it does when it proposes several. From its last hidden state at Z_i the head
predicts a_i wherever Z_i = Y_i; draft and policy stay as they are. The loss is the mean of

    w (1 - a)(-log(1 - â)) + a (-log â),   w = `rejection_weight`,

weighted by w (1 - a) + a. The head is `farm.models.acceptance`; how it is used says
`farm.generation.stop_rules.TrainedHead`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from farm.checks import require, require_at_least
from farm.errors import DataError
from farm.generation.stop_rules import HEAD
from farm.seeds import derive
from farm.stages.pointers import point_to_policy
from farm.training.offline import LossLearner
from farm.types import Inputs, Instruction, Need, PolicyRef

if TYPE_CHECKING:
    from torch import Tensor

    from farm.context import Context
    from farm.generation.sampler import Drawn
    from farm.training.loss_trainer import RowLosses

_CHUNK = 256
"""Instructions that are answered between two signs of life."""


class MixedAnswer(NamedTuple):
    """What the draft reads, and what is to be learned there."""

    prompt: list[int]
    tokens: list[int]
    """Z."""
    acceptance: list[float]
    """a of what the draft proposed at each position."""
    learned: list[bool]
    """Where Z is what the draft proposed."""


@dataclass(frozen=True, kw_only=True)
class AcceptanceHead(LossLearner):
    """Learns from the start's answers to `inputs.instructions` and from `inputs.draft`; the head
    lies in the folder `head` of its artefact, and the policy is the start itself. Metrics: loss
    (nats), acceptance and estimate, the means of a and â over tokens.

    All parameters of the head learn, whatever `tuning` says. Raises `ConfigError` for values out of
    range and `DataError` where there are no instructions.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"instructions", "draft"})
    key_excludes: ClassVar[frozenset[str]] = LossLearner.key_excludes | {"rollout_batch_size"}

    learning_rate: float = 2e-3
    epochs: float | None = 3.0
    batch_size: int = 32
    instructions: int | None = 4000
    """How many are answered; None: all."""
    temperature: float = 1.0
    mixing: float = 0.15
    rejection_weight: float = 6.0
    depth: int = 3
    rollout_batch_size: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        require("mixing", self.mixing, "in [0, 1)", 0 <= self.mixing < 1)
        require("temperature", self.temperature, "above 0", self.temperature > 0)
        require("rejection_weight", self.rejection_weight, "above 0", self.rejection_weight > 0)
        require_at_least("depth", self.depth, 0)
        for key in ("instructions", "rollout_batch_size"):
            require_at_least(key, getattr(self, key), 1)

    def fit(self, start: PolicyRef, inputs: Inputs, context: "Context") -> PolicyRef:
        """The start; the head lies beside it."""
        if not (context.work / HEAD).exists():
            self._fit(start, inputs, context)
        return start

    def _fit(self, start: PolicyRef, inputs: Inputs, context: "Context") -> None:
        from farm.models.acceptance import AcceptanceHead as Head
        from farm.models.acceptance import save_head
        from farm.models.heads import output_width
        from farm.models.load import load_draft, load_tokenizer
        from farm.training.loss_trainer import minimise
        from farm.training.trainer import publish

        assert inputs.draft is not None
        asked = list(inputs.instructions or ())[: self.instructions]
        if not asked:
            raise DataError("an acceptance head needs instructions: `unlabeled` is empty.")
        draft = load_draft(inputs.draft.path, load_tokenizer(start.path), context.device)
        answers = self._answers(start, draft, asked, context)
        head = Head(output_width(draft), self.depth).to(context.device)
        losses = _Losses(draft, answers, self.rejection_weight)
        minimise(
            head,
            losses,
            [len(answer.prompt) + len(answer.tokens) for answer in answers],
            self,
            context,
            # The policy does not change: its checkpoint is a pointer to the start.
            checkpoint=lambda _, path: point_to_policy(
                path, start.path, control=start.decoding.control
            ),
        )
        publish(context, HEAD, partial(save_head, head))

    def _answers(
        self, start: PolicyRef, draft: Any, asked: Sequence[Instruction], context: "Context"
    ) -> list[MixedAnswer]:
        """The start's answers, mixed with the draft's proposals."""
        from farm.generation.sampler import FarmSampler
        from farm.models.load import load_policy

        sampler = FarmSampler(
            replace(start, decoding=replace(start.decoding, temperature=self.temperature)),
            batch_size=self.rollout_batch_size,
            max_prompt_tokens=self.max_prompt_tokens,
            device=context.device,
        )
        policy = load_policy(start.path, context.device)
        mine = context.ranks.share(asked)
        found: list[MixedAnswer] = []
        for first in range(0, len(mine), _CHUNK):
            chunk = mine[first : first + _CHUNK]
            drawn = sampler.draw(chunk, n=1, seed=derive(context.seed, "answers"))
            seeds = [derive(context.seed, "proposals", row.id) for row in chunk]
            found += self.mixed(policy, draft, drawn, seeds)
            if context.on_progress is not None:
                context.on_progress(len(found), len(mine), {})
        return context.ranks.gather(found)

    def mixed(
        self, policy: Any, draft: Any, drawn: "Drawn", row_seeds: Sequence[int]
    ) -> list[MixedAnswer]:
        """The draft's proposals along these answers of the policy, and what becomes of them."""
        import torch

        from farm.generation.drawing import draw, uniforms
        from farm.generation.logprobs import batches, predict

        found: dict[int, MixedAnswer] = {}
        prompts, responses = drawn.prompts, drawn.responses
        with torch.inference_mode():
            for rows, batch in batches(policy, prompts, responses, self.tokens_per_batch):
                lengths = [len(responses[row]) for row in rows]
                numbers = uniforms([row_seeds[row] for row in rows], 2 * max(lengths))
                proposal_N, mix_N = torch.cat(
                    [torch.from_numpy(u[: 2 * n]) for u, n in zip(numbers, lengths, strict=True)]
                ).to(policy.device).view(-1, 2).unbind(1)  # fmt: skip
                p_N_V = self._probabilities(predict(policy, batch).logits_N_V)
                q_N_V = self._probabilities(predict(draft, batch).logits_N_V)
                y_N = draw(q_N_V[:, : p_N_V.shape[1]], proposal_N)
                a_N = acceptance(p_N_V, q_N_V, y_N)
                z_N = torch.where(mix_N < self.mixing, batch.tokens_N, y_N)
                columns = [torch.split(c, lengths) for c in (z_N, a_N, z_N == y_N)]
                for row, z, a, learned in zip(rows, *columns, strict=True):
                    found[row] = MixedAnswer(prompts[row], z.tolist(), a.tolist(), learned.tolist())
        return [found[row] for row in range(len(prompts))]

    def _probabilities(self, logits_N_V: "Tensor") -> "Tensor":
        return (logits_N_V.float() / self.temperature).softmax(-1)


def acceptance(p_N_V: "Tensor", q_N_V: "Tensor", proposed_N: "Tensor") -> "Tensor":
    """min(1, p/q) of proposed tokens, [N]."""
    p_N, q_N = (x_N_V.gather(-1, proposed_N[:, None])[:, 0] for x_N_V in (p_N_V, q_N_V))
    return (p_N / q_N).clamp(max=1)


def weighted_losses(
    log_odds_N: "Tensor", acceptance_N: "Tensor", rejection_weight: float
) -> "tuple[Tensor, Tensor]":
    """(losses, weights), [N] each: the sum of the former over that of the latter is the paper's
    loss, for â = sigmoid(log-odds)."""
    from torch.nn.functional import softplus

    rejected_N = rejection_weight * (1 - acceptance_N)
    losses_N = rejected_N * softplus(log_odds_N) + acceptance_N * softplus(-log_odds_N)
    return losses_N, rejected_N + acceptance_N


class _Losses:
    """Of answers, by their numbers; a batch's is normalised by all its weights."""

    def __init__(self, draft: Any, answers: Sequence[MixedAnswer], rejection_weight: float) -> None:
        self._draft, self._answers, self._weight = draft, answers, rejection_weight
        self._scale = 0.0

    def begin(self, head: Any, batch: Sequence[int]) -> None:
        """The batch's mean over rows is to be its sum over its weights."""
        weights = sum(
            self._weight * (1 - a) + a
            for row in batch
            for a, learned in zip(*self._answers[row][2:], strict=True)
            if learned
        )
        self._scale = len(batch) / weights if weights else 0.0

    def __call__(self, head: Any, rows: Sequence[int]) -> "RowLosses":
        """The losses of some of its rows."""
        import torch

        from farm.generation.logprobs import predict, response_batch
        from farm.training.loss_trainer import RowLosses

        answers = [self._answers[row] for row in rows]
        batch = response_batch(
            self._draft, [answer.prompt for answer in answers], [a.tokens for a in answers]
        )
        # Where tokens are read, which is one column behind where they are predicted.
        read = replace(batch, positions_N=batch.positions_N + 1)
        with torch.no_grad():
            hidden_N_D = predict(self._draft, read).hidden_N_D
        device = hidden_N_D.device
        a_N = torch.tensor([a for answer in answers for a in answer.acceptance], device=device)
        learned_N = torch.tensor([x for answer in answers for x in answer.learned], device=device)
        log_odds_N = head.log_odds(hidden_N_D)
        losses_N, _ = weighted_losses(log_odds_N, a_N, self._weight)
        parts = torch.split(losses_N * learned_N, [len(answer.tokens) for answer in answers])
        losses_B = self._scale * torch.stack([part.sum() for part in parts])
        estimate_N = log_odds_N.detach().sigmoid()
        shown = {"acceptance": a_N[learned_N], "estimate": estimate_N[learned_N]}
        return RowLosses(losses_B, shown)
