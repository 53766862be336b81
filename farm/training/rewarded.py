"""What learners share whose own answers are scored by a reward."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from farm.checks import require_at_least
from farm.data.records import last_user_text
from farm.errors import DataError
from farm.protocols import FloatArray, Scorer
from farm.scorers.pooled import pooled_scores
from farm.training.on_policy import Answered, OnPolicyLearner, Run
from farm.types import Inputs, Need

if TYPE_CHECKING:
    from farm.context import Context


class Rewarded(NamedTuple):
    """What a step's answers are worth."""

    rewards_B: FloatArray
    """In standard deviations of the start policy's scores, penalties included."""
    metrics: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class RewardedLearner(OnPolicyLearner):
    """Learns from `inputs.reward`, any `Scorer`, on prompts from `inputs.instructions`.

    Adds the metrics reward (standardised, penalty included) and proxy (raw). Raises `DataError`
    where the reward gives NaN.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"instructions", "reward"})

    steps: int = 40
    """Rollouts."""
    unstopped_penalty: float = 1.0
    """Standard deviations subtracted where an answer ran into its limit; AlpacaFarm replaces the
    reward of such answers by -1, where its penalty is on at all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("steps", self.steps, 1)
        require_at_least("unstopped_penalty", self.unstopped_penalty, 0)

    @property
    def total_steps(self) -> int:
        """As the key says."""
        return self.steps

    def numbers(self) -> dict[str, Any]:
        """The start policy's mean score and standard deviation: the first answers', from then on
        fixed, so that coefficients mean the same for every reward."""
        return {"reward_mean": None, "reward_std": 1.0}

    def rewards(self, run: Run, answered: Answered) -> Rewarded:
        """Score and standardise."""
        scores_B = scores(run.inputs, answered, run.context)
        if run.numbers["reward_mean"] is None:
            spread = float(scores_B.std()) or 1.0
            run.numbers |= {"reward_mean": float(scores_B.mean()), "reward_std": spread}
        unstopped_B = ~answered.episodes.stopped_B.cpu().numpy()
        standard_B = (scores_B - run.numbers["reward_mean"]) / run.numbers["reward_std"]
        rewards_B = np.asarray(standard_B - self.unstopped_penalty * unstopped_B)
        means = {"reward": float(rewards_B.mean()), "proxy": float(scores_B.mean())}
        return Rewarded(rewards_B, means)


def scores(inputs: Inputs, answered: Answered, context: "Context") -> FloatArray:
    """The reward's own numbers [B]."""
    reward = inputs.reward
    assert isinstance(reward, Scorer)
    asked, texts = context.ranks.share(answered.asked), context.ranks.share(answered.texts)
    mine = pooled_scores(reward, context.scorers, asked, texts)
    scores_B = np.array(context.ranks.gather(mine.tolist()))
    missing = np.flatnonzero(np.isnan(scores_B))
    if missing.size:
        first = int(missing[0])
        raise DataError(
            f"the reward has no score (NaN) for {missing.size} of {len(scores_B)} answers. The "
            f"first is {answered.texts[first]!r} to {last_user_text(answered.asked[first])!r}. "
            "Learning from a reward needs one that applies to every instruction of the split "
            "`unlabeled`."
        )
    return scores_B
