"""Quark (Lu et al. 2022, arXiv 2205.13635), as AlpacaFarm runs it (Dubois et al. 2023, arXiv
2305.14387; rl/quark_trainer.py): each step keeps only the best quantile of its answers, so that no
reward tokens are needed, and learns them by likelihood with a KL penalty over the full vocabulary:
-log pi(y) + kl * KL(pi || pi_start), means over answer tokens.

AlpacaFarm: 512 answers a step in 4 quantiles, one update per step, learning rate 3e-6,
KL coefficient 0.05, 10 passes over the prompts. Lu et al. keep all quantiles, told apart by a
token.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from farm.checks import require, require_at_least
from farm.training.on_policy import MinibatchLoss, Run
from farm.training.rewarded import RewardedLearner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from farm.training.episodes import Episodes


@dataclass(frozen=True, kw_only=True)
class Quark(RewardedLearner):
    """Adds the metrics loss, kl_loss (nats per token) and best_reward (the kept answers' mean
    standardised reward)."""

    minibatch_size: int = 256
    quantiles: int = 4
    kl_coefficient: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        right = f"between 2 and episodes_per_step={self.episodes_per_step}"
        require("quantiles", self.quantiles, right, 2 <= self.quantiles <= self.episodes_per_step)
        require_at_least("kl_coefficient", self.kl_coefficient, 0)

    @property
    def rows_per_step(self) -> int:
        """The best quantile."""
        return self.episodes_per_step // self.quantiles

    def learn(self, run: Run) -> dict[str, float]:
        """Roll out, score, keep the best, update."""
        from farm.training.episodes import describe

        answered = self.answers(run)
        rewarded = self.rewards(run, answered)
        best: list[int] = np.argsort(-rewarded.rewards_B, kind="stable")[
            : self.rows_per_step
        ].tolist()
        kept = answered.episodes.take(best)
        losses = self.update(run, kept.lengths(), self.minibatch_loss(run, kept))
        return {
            **rewarded.metrics,
            **describe(answered.episodes, answered.observed),
            **losses,
            "best_reward": float(rewarded.rewards_B[best].mean()),
        }

    def minibatch_loss(self, run: Run, kept: "Episodes") -> MinibatchLoss:
        """Means over a minibatch's answer tokens."""
        from farm.generation.logprobs import divergence, predict, token_logprobs

        tokens_B = kept.mask_B_T.sum(1)

        def loss(rows: list[int], minibatch: list[int]) -> "Mapping[str, Tensor]":
            batch = kept.batch(run.networks.model, rows)
            ours, theirs = predict(run.networks.model, batch), run.anchor.predict(batch)
            nll_N = -token_logprobs(ours.logits_N_V, batch.tokens_N)
            kl_N = divergence(ours.logits_N_V, theirs.logits_N_V)
            tokens = tokens_B[minibatch].sum()
            return {
                "loss": (nll_N + self.kl_coefficient * kl_N).sum() / tokens,
                "kl_loss": kl_N.sum() / tokens,
            }

        return loss
