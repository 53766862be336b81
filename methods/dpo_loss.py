"""Losses of DPO's family: what the log-ratios of a chosen and a rejected answer cost."""

from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, runtime_checkable

from farm.checks import require

if TYPE_CHECKING:
    from torch import Tensor


class Side(NamedTuple):
    """One answer of each pair."""

    ratio_B: "Tensor"
    """log(pi / pi_start) of the answer, nats."""
    tokens_B: "Tensor"
    """Its tokens, the end id included."""


@runtime_checkable
class PairLoss(Protocol):
    """A loss that falls as the chosen answer gains on the rejected one."""

    def of(self, chosen: Side, rejected: Side, beta: float) -> "Tensor":
        """Losses [B]."""
        ...


class Sigmoid:
    """-log sigmoid(beta * h), h the difference of the log-ratios (Rafailov et al. 2023,
    arXiv 2305.18290, equation 7)."""

    stage_version: ClassVar[int] = 1

    def of(self, chosen: Side, rejected: Side, beta: float) -> "Tensor":
        """Losses [B], nats."""
        from torch.nn.functional import logsigmoid

        return -logsigmoid(beta * (chosen.ratio_B - rejected.ratio_B))


class Hinge:
    """max(0, 1 - beta * h) (SLiC-HF, Zhao et al. 2023, arXiv 2305.10425, with DPO's log-ratios as
    in RSO, Liu et al. 2023, arXiv 2309.06657)."""

    stage_version: ClassVar[int] = 1

    def of(self, chosen: Side, rejected: Side, beta: float) -> "Tensor":
        """Losses [B]."""
        return (1 - beta * (chosen.ratio_B - rejected.ratio_B)).relu()


class IPO:
    """(h - 1 / (2 beta))^2, h the difference of the log-ratios per token (Azar et al. 2023,
    arXiv 2310.12036, equation 17; per token, as in TRL, so that length does not scale it)."""

    stage_version: ClassVar[int] = 1

    def of(self, chosen: Side, rejected: Side, beta: float) -> "Tensor":
        """Losses [B]."""
        h_B = chosen.ratio_B / chosen.tokens_B - rejected.ratio_B / rejected.tokens_B
        return (h_B - 1 / (2 * beta)) ** 2


class Robust:
    """Unbiased where labels are flipped with a known probability e (Chowdhury et al. 2024,
    arXiv 2403.00409): ((1 - e) l(h) - e l(-h)) / (1 - 2 e), l being DPO's own loss.

    Raises `ConfigError` for a flip probability outside [0, 0.5).
    """

    stage_version: ClassVar[int] = 1

    def __init__(self, flip: float) -> None:
        require("flip", flip, "in [0, 0.5)", 0 <= flip < 0.5)
        self._flip = flip

    def of(self, chosen: Side, rejected: Side, beta: float) -> "Tensor":
        """Losses [B]; they can be negative."""
        from torch.nn.functional import logsigmoid

        logits_B = beta * (chosen.ratio_B - rejected.ratio_B)
        kept_B, flipped_B = -logsigmoid(logits_B), -logsigmoid(-logits_B)
        return ((1 - self._flip) * kept_B - self._flip * flipped_B) / (1 - 2 * self._flip)
