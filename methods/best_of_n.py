"""Best-of-n: nothing is trained; the start policy answers n times and a reward chooses.

AlpacaFarm (arXiv 2305.14387): n samples at temperature 1, the answer with the highest score of the
reward model. An upper bound on its KL divergence from the start is log n - (n - 1) / n nats
(`farm.evaluation.best_of_n`); an answer costs n.
"""

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from farm.checks import require_at_least
from farm.stages.pointers import point_to_policy
from farm.types import BestOf, Inputs, Need, PolicyRef

if TYPE_CHECKING:
    from farm.context import Context


class BestOfN:
    """Chooses by `inputs.reward`. Its checkpoints are the powers of two up to n, and n itself;
    their step is their n.

    Raises `ConfigError` for an n below 2 or a temperature below 0.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"reward"})
    stage_version: ClassVar[int] = 1

    def __init__(self, *, n: int = 16, temperature: float = 1.0) -> None:
        require_at_least("n", n, 2)
        require_at_least("temperature", temperature, 0)
        self._n = n
        self._temperature = temperature

    def fit(self, start: PolicyRef, inputs: Inputs, context: "Context") -> PolicyRef:
        """The start, decoded by best-of-n."""
        assert inputs.reward is not None
        best_of = partial(BestOf, temperature=self._temperature, scorer=inputs.reward)
        point = partial(point_to_policy, path=start.path, control=start.decoding.control)
        for n in _sizes(self._n):
            context.checkpoint(n, partial(point, best_of=best_of(n)))
        return PolicyRef(start.path, start.decoding, best_of(self._n))


def _sizes(n: int) -> list[int]:
    """2, 4, 8, ... and n."""
    return [*(2**power for power in range(1, (n - 1).bit_length())), n]
