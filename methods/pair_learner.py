"""What learners from labelled pairs share: everything but the loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from farm.checks import require_at_least
from farm.training.offline import LossLearner, LossOfRows, learn_policy
from farm.training.preferences import PairRows, heard, note_labels, pair_rows
from farm.types import Inputs, Need, PolicyRef

if TYPE_CHECKING:
    from torch import Tensor

    from farm.context import Context
    from farm.training.answer_logprobs import PairLogprobs
    from farm.training.loss_trainer import RowLosses


@dataclass(frozen=True, kw_only=True)
class PairLearner(LossLearner):
    """Learns from `inputs.judgments`, soft and tied ones as they are; missing verdicts are dropped
    and counted in `labels.json`.

    Raises `ConfigError` for values out of range and `DataError` where no judgment is left to learn
    from.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"judgments"})

    checkpoint_every: int | None = 20
    """Steps between policies that are evaluated; None: only the last."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("checkpoint_every", self.checkpoint_every, 1)

    def fit(self, start: PolicyRef, inputs: Inputs, context: "Context") -> PolicyRef:
        """The policy that the loss asks for."""
        policy = context.work / "policy"
        if not policy.exists():
            self._fit(start, inputs, context)
        return PolicyRef(str(policy), start.decoding)

    def _fit(self, start: PolicyRef, inputs: Inputs, context: "Context") -> None:
        from farm.models.load import load_policy, load_tokenizer
        from farm.training.precision import autocast_to

        found = heard(inputs.judgments or ())
        note_labels(found, context)
        tokenizer = load_tokenizer(start.path)
        rows = pair_rows(
            tokenizer,
            found.labels,
            max_prompt_tokens=self.max_prompt_tokens,
            max_new_tokens=self.max_new_tokens,
        )
        model = load_policy(start.path, context.device)
        model = context.tuning.apply(model, seed=context.seed)
        with autocast_to(context.tuning.precision, context.device):
            losses = self.losses(model, rows, context)
        learn_policy(
            self,
            model,
            tokenizer,
            losses,
            rows.lengths(),
            context,
            checkpoint_every=self.checkpoint_every,
        )

    def losses(self, model: Any, rows: PairRows, context: "Context") -> LossOfRows:
        """The loss of some of the rows; `model` is still the start."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class UnanchoredPairLearner(PairLearner):
    """Its loss sees the policy alone, wherever it has begun."""

    def losses(self, model: Any, rows: PairRows, context: "Context") -> LossOfRows:
        """The class's own `pair_losses`."""
        from farm.training.answer_logprobs import pair_logprobs

        def losses(model: Any, batch: Sequence[int]) -> "RowLosses":
            return self.pair_losses(pair_logprobs(model, rows, batch))

        return losses

    def pair_losses(self, policy: "PairLogprobs") -> "RowLosses":
        """Losses of pairs."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class AnchoredPairLearner(PairLearner):
    """Its loss sees how far the policy has moved from the start, whose log-probabilities are
    computed once, before the first step."""

    def losses(self, model: Any, rows: PairRows, context: "Context") -> LossOfRows:
        """The class's own `pair_losses` of both answers' log-ratios."""
        from farm.training.answer_logprobs import frozen_pair_logprobs, pair_logprobs

        start_a_N, start_b_N = frozen_pair_logprobs(
            model, rows, context.ranks, tokens_per_batch=self.tokens_per_batch
        )

        def losses(model: Any, batch: Sequence[int]) -> "RowLosses":
            policy = pair_logprobs(model, rows, batch)
            index = list(batch)
            return self.pair_losses(
                policy, policy.a_B - start_a_N[index], policy.b_B - start_b_N[index]
            )

        return losses

    def pair_losses(
        self, policy: "PairLogprobs", a_ratio_B: "Tensor", b_ratio_B: "Tensor"
    ) -> "RowLosses":
        """Losses of pairs from log(pi / pi_start) of their answers, nats."""
        raise NotImplementedError


def reported(policy: "PairLogprobs", margin_B: "Tensor", **others: "Tensor") -> dict[str, "Tensor"]:
    """The metrics that pairwise losses share, from the margins by which they favour b: accuracy
    (of pairs whose label leans to a side) and margin (towards that side), entropy, and others."""
    leans_B = policy.preference_B != 0.5
    towards_B = (margin_B.detach() * (policy.preference_B - 0.5).sign())[leans_B]
    return {
        "accuracy": (towards_B > 0).float(),
        "margin": towards_B,
        "entropy": policy.entropies_N,
        **{name: figures.detach() for name, figures in others.items()},
    }
