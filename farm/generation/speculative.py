"""Speculative sampling (Leviathan et al. 2023, arXiv 2211.17192; Chen et al. 2023, arXiv
2302.01318): a small draft q proposes Y_1 .. Y_K, the policy p reads all of them at once.

Y_i is accepted with probability min(1, p/q); at the first rejection the token is drawn from
norm(max(p - q, 0)) instead, and behind K accepted ones a further token from p. What is drawn has
p's law. How long a round is, a `StopRule` says.

Rows are decoded together, each with rounds of its own length: columns that a row has no use for are
masked. The three random numbers of a token (its proposal, its test, its replacement) are functions
of (row seed, position), so that what is drawn does not depend on batching. The law stays: whether a
position is proposed, tested or drawn from p is settled by the numbers of earlier positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from farm.generation.drawing import Rollouts, draw, uniforms
from farm.generation.moved import Asked
from farm.generation.reader import Columns, Reader
from farm.generation.stop_rules import DraftStep, StopRule

_PROPOSAL, _TEST, _REPLACEMENT = range(3)


@dataclass(frozen=True)
class Speculated:
    """Answers, what they took, and what became of proposals. Counts are int64 [B]."""

    rollouts: Rollouts
    drafted_B: Tensor
    """Tokens proposed."""
    discarded_B: Tensor
    """Of these, rejected ones and those behind them in their round."""
    rejected_B: Tensor
    """Rounds with a rejection."""
    verified_B: Tensor
    """Rounds: passes of the policy. The first one reads the prompt as well."""
    tested: list[Tensor] = field(default_factory=list)
    """One [3, N] for each round, of proposals whose predecessors in the round were accepted: the
    rule's estimate (NaN where it made none), min(1, p/q), and 1 if it was accepted."""


class Proposer(NamedTuple):
    """Who proposes tokens."""

    draft: Any
    """A causal LM in evaluation mode, with the policy's tokens."""
    rule: StopRule


@torch.inference_mode()
def speculate(
    model: Any,
    proposer: Proposer,
    asked: Asked,
    *,
    max_new_tokens: int,
    temperature: float,
    stop_ids: Sequence[int],
    pad_id: int,
    batch_size: int,
) -> Speculated:
    """`farm.generation.decode.decode` with a draft: the same law, at temperature 0 the same
    answers."""
    prompts, row_seeds = asked
    rollouts = Rollouts.empty(len(prompts), max_new_tokens, pad_id, model.device)
    nothing_B = torch.zeros(len(prompts), dtype=torch.int64, device=model.device)
    drafted_B, discarded_B, rejected_B, verified_B = (nothing_B.clone() for _ in range(4))
    out = Speculated(rollouts, drafted_B, discarded_B, rejected_B, verified_B)
    how = _How(proposer.rule, temperature, torch.tensor(list(stop_ids), device=model.device))
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for first in range(0, len(order), batch_size):
        rows = order[first : first + batch_size]
        numbers = uniforms([row_seeds[i] for i in rows], 3 * max_new_tokens)
        numbers_B_T_3 = torch.from_numpy(numbers).view(len(rows), max_new_tokens, 3)
        batch = _Batch(model, proposer.draft, how, [prompts[i] for i in rows], rows, numbers_B_T_3)
        while len(batch.rows_B):
            batch.round(out)
    return Speculated(**{**vars(out), "rollouts": rollouts.trimmed()})


@dataclass(frozen=True)
class _How:
    """What all rounds have in common."""

    rule: StopRule
    temperature: float
    stop: Tensor

    def logprobs(self, logits: Tensor) -> Tensor:
        """As `Rollouts` has them."""
        return (logits.float() / (self.temperature or 1.0)).log_softmax(-1)

    def probabilities(self, logprobs: Tensor) -> Tensor:
        """What is drawn from."""
        if self.temperature == 0:
            return functional.one_hot(logprobs.argmax(-1), logprobs.shape[-1]).float()
        return logprobs.exp()


@dataclass(frozen=True)
class _Proposal:
    """What the draft proposes in a round."""

    tokens_B_K: Tensor
    q_B_K_V: Tensor
    estimates_B_K: Tensor
    drafted_B: Tensor
    """A row that stops while others go on has nothing of meaning in the columns from here on."""

    @property
    def proposed_B_K(self) -> Tensor:
        """Whether a column has a meaning."""
        return _within(self.tokens_B_K.shape[1], self.drafted_B)


@dataclass(frozen=True)
class _Verdict:
    """What the policy makes of a proposal."""

    acceptance_B_K: Tensor
    accepted_B: Tensor
    """How many tokens, from the first on."""
    tokens_B_K1: Tensor
    """These and the one behind them, then nothing of meaning."""
    logprobs_B_K1: Tensor


def _within(width: int, lengths_B: Tensor) -> Tensor:
    """Whether a column lies within the row's length, bool [B, width]."""
    return torch.arange(width, device=lengths_B.device) < lengths_B[:, None]


class _Batch:
    """Rows that are decoded together until they end."""

    def __init__(
        self,
        model: Any,
        draft: Any,
        how: _How,
        prompts: Sequence[Sequence[int]],
        rows: Sequence[int],
        numbers_B_T_3: Tensor,
    ) -> None:
        device, self._how = model.device, how
        self._numbers_B_T_3, self._new = numbers_B_T_3.to(device), numbers_B_T_3.shape[1]
        width = max(len(prompt) for prompt in prompts)
        self._policy, self._draft = (
            Reader(m, len(rows), width + self._new) for m in (model, draft)
        )
        # Prompts end at the same column; the id that fills the left side never matters.
        ids_B_P = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts], device=device)
        lengths_B = torch.tensor([len(prompt) for prompt in prompts], device=device)
        positions_B_P = torch.arange(width, device=device) - (width - lengths_B[:, None])
        unread = Columns(ids_B_P, positions_B_P >= 0, positions_B_P.clamp(min=0))
        self._policy_unread, self._draft_unread = unread, unread
        self._last_B = lengths_B + self._new - 1
        self._written_B = torch.zeros_like(lengths_B)
        self.rows_B = torch.tensor(rows, device=device)
        """Those that have not ended."""

    def round(self, out: Speculated) -> None:
        """Propose, verify, write down; drop rows that have ended."""
        proposal = self._propose()
        verdict = self._verify(proposal)
        self._count(out, proposal, verdict)
        written_B, ended_B = self._write(out.rollouts, verdict)
        self._advance(proposal, verdict, written_B)
        if bool(ended_B.any()):
            self._keep((~ended_B).nonzero()[:, 0])

    def _numbers(self, count: int, use: int) -> Tensor:
        """The random numbers of the next `count` positions, [B, count]."""
        places = torch.arange(count, device=self._written_B.device) + self._written_B[:, None]
        return self._numbers_B_T_3[..., use].gather(1, places.clamp_(max=self._new - 1))

    def _propose(self) -> _Proposal:
        rule, columns = self._how.rule, self._draft_unread
        # One place stays free, for the token that the policy adds.
        limit_B = (self._new - self._written_B - 1).clamp(max=rule.max_tokens)
        drafted_B, drafting_B = torch.zeros_like(limit_B), limit_B > 0
        rows, width = len(limit_B), self._policy.width
        tokens_B_K = limit_B.new_zeros(rows, 0)
        q: list[Tensor] = []
        estimates_B_K = torch.zeros(rows, 0, device=limit_B.device)
        while bool(drafting_B.any()):
            logits_B_V = self._draft.read(columns, keep=1)[:, -1, :width]
            q_B_V = self._how.probabilities(self._how.logprobs(logits_B_V))
            q.append(functional.pad(q_B_V, (0, width - q_B_V.shape[-1])))
            tokens_B = draw(q[-1], self._numbers(len(q), _PROPOSAL)[:, -1])
            tokens_B_K = torch.cat([tokens_B_K, tokens_B[:, None]], dim=1)
            estimates_B = rule.estimates(DraftStep(len(q), q[-1], self._draft.hidden_B_D))
            estimates_B_K = torch.cat([estimates_B_K, estimates_B[:, None]], dim=1)
            drafted_B = drafted_B + drafting_B
            goes_on_B = (drafted_B < limit_B) & ~torch.isin(tokens_B, self._how.stop)
            drafting_B = drafting_B & goes_on_B & ~rule.stops(estimates_B_K)
            columns = columns.behind(tokens_B[:, None], drafting_B[:, None], self._last_B)
        q_B_K_V = torch.stack(q, 1) if q else torch.zeros(rows, 0, width, device=limit_B.device)
        return _Proposal(tokens_B_K, q_B_K_V, estimates_B_K, drafted_B)

    def _verify(self, proposal: _Proposal) -> _Verdict:
        tokens_B_K, count = proposal.tokens_B_K, proposal.tokens_B_K.shape[1]
        columns = self._policy_unread.then(tokens_B_K, proposal.proposed_B_K, self._last_B)
        logprobs_B_K1_V = self._how.logprobs(self._policy.read(columns, keep=count + 1))
        p_B_K1_V = self._how.probabilities(logprobs_B_K1_V)
        p_B_K = p_B_K1_V[:, :count].gather(-1, tokens_B_K[..., None])[..., 0]
        q_B_K = proposal.q_B_K_V.gather(-1, tokens_B_K[..., None])[..., 0]
        acceptance_B_K = (p_B_K / q_B_K).clamp(max=1)
        passed_B_K = proposal.proposed_B_K & (self._numbers(count, _TEST) < acceptance_B_K)
        accepted_B = passed_B_K.long().cumprod(1).sum(1)
        row_B = torch.arange(len(accepted_B), device=accepted_B.device)
        tokens_B_K1 = functional.pad(tokens_B_K, (0, 1))
        tokens_B_K1[row_B, accepted_B] = self._behind(proposal, p_B_K1_V, accepted_B)
        logprobs_B_K1 = logprobs_B_K1_V.gather(-1, tokens_B_K1[..., None])[..., 0]
        return _Verdict(acceptance_B_K, accepted_B, tokens_B_K1, logprobs_B_K1)

    def _behind(self, proposal: _Proposal, p_B_K1_V: Tensor, accepted_B: Tensor) -> Tensor:
        """The token behind the accepted ones: from norm(max(p - q, 0)), with q = 0 where none was
        rejected."""
        row_B = torch.arange(len(accepted_B), device=accepted_B.device)
        p_B_V = p_B_K1_V[row_B, accepted_B]
        q_B_V = functional.pad(proposal.q_B_K_V, (0, 0, 0, 1))[row_B, accepted_B]
        rejected_B = accepted_B < proposal.drafted_B
        rest_B_V = (p_B_V - q_B_V * rejected_B[:, None]).clamp(min=0)
        # Rounding may leave nothing where p and q are equal but for their last bits.
        rest_B_V = torch.where(rest_B_V.sum(-1, keepdim=True) > 0, rest_B_V, p_B_V)
        numbers_B_K1 = self._numbers(p_B_K1_V.shape[1], _REPLACEMENT)
        return draw(rest_B_V, numbers_B_K1[row_B, accepted_B])

    def _count(self, out: Speculated, proposal: _Proposal, verdict: _Verdict) -> None:
        drafted_B, accepted_B = proposal.drafted_B, verdict.accepted_B
        out.drafted_B[self.rows_B] += drafted_B
        out.discarded_B[self.rows_B] += drafted_B - accepted_B
        out.rejected_B[self.rows_B] += (accepted_B < drafted_B).long()
        out.verified_B[self.rows_B] += 1
        count, lag = proposal.tokens_B_K.shape[1], self._how.rule.lag
        about_B_K = functional.pad(proposal.estimates_B_K, (0, lag), value=torch.nan)[:, lag:]
        about_B_K = about_B_K.masked_fill(~_within(count, drafted_B - lag), torch.nan)
        passed_B_K = _within(count, accepted_B).float()
        shown_3_B_K = torch.stack([about_B_K, verdict.acceptance_B_K, passed_B_K])
        reached_B_K = proposal.proposed_B_K & _within(count, accepted_B + 1)
        out.tested.append(shown_3_B_K[:, reached_B_K].cpu())

    def _write(self, out: Rollouts, verdict: _Verdict) -> tuple[Tensor, Tensor]:
        """How many tokens each row was given [B], and whether it has ended [B]."""
        tokens_B_K1, accepted_B = verdict.tokens_B_K1, verdict.accepted_B
        width = tokens_B_K1.shape[1]
        # A draft stops behind a stop id, so that it can only be the last one accepted.
        stops_B_K1 = torch.isin(tokens_B_K1, self._how.stop)
        early_B = (stops_B_K1 & _within(width, accepted_B)).any(1)
        written_B = accepted_B + (~early_B).long()
        given_B_K1 = _within(width, written_B)
        row_N, column_N = given_B_K1.nonzero(as_tuple=True)
        place_N = self.rows_B[row_N], self._written_B[row_N] + column_N
        out.tokens_B_T[place_N] = tokens_B_K1[given_B_K1]
        out.logprobs_B_T[place_N] = verdict.logprobs_B_K1[given_B_K1]
        out.mask_B_T[place_N] = True
        stopped_B = (stops_B_K1 & given_B_K1).any(1)
        out.stopped_B[self.rows_B] = stopped_B
        return written_B, stopped_B | (self._written_B + written_B == self._new)

    def _advance(self, proposal: _Proposal, verdict: _Verdict, written_B: Tensor) -> None:
        """Forget what was not accepted; what is new is unread. Ended rows do not count."""
        accepted_B, count = verdict.accepted_B, proposal.tokens_B_K.shape[1]
        self._policy.forget(_within(count, accepted_B))
        self._draft.forget(_within(max(count - 1, 0), accepted_B))
        self._written_B = self._written_B + written_B
        row_B = torch.arange(len(accepted_B), device=accepted_B.device)
        behind_B_1 = verdict.tokens_B_K1[row_B, accepted_B][:, None]
        positions_B_1 = (self._last_B - self._new + self._written_B)[:, None]
        self._policy_unread = Columns(behind_B_1, torch.ones_like(behind_B_1).bool(), positions_B_1)
        # The draft has proposed the last one of them, but never read it.
        accepted_B_1 = verdict.tokens_B_K1[row_B, (accepted_B - 1).clamp(min=0)][:, None]
        unread_B_1 = ((accepted_B == proposal.drafted_B) & (accepted_B > 0))[:, None]
        last = Columns(accepted_B_1, unread_B_1, positions_B_1 - 1)
        behind = self._policy_unread
        self._draft_unread = last.joined(behind) if bool(unread_B_1.any()) else behind

    def _keep(self, rows: Tensor) -> None:
        for reader in (self._policy, self._draft):
            reader.keep_rows(rows)
        self._policy_unread = self._policy_unread.of(rows)
        self._draft_unread = self._draft_unread.of(rows)
        self._last_B, self._written_B = self._last_B[rows], self._written_B[rows]
        self._numbers_B_T_3, self.rows_B = self._numbers_B_T_3[rows], self.rows_B[rows]
