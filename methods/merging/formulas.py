"""How tensors of the same place in several policies become one.

Linear and spherical interpolation as Lu, Luu and Buehler write them (arXiv 2409.03444), task
arithmetic (Ilharco et al. 2023, arXiv 2212.04089), and TIES (Yadav et al. 2023, arXiv 2306.01708),
each in its paper's order. Tensors are of one shape; all is computed in their own dtype, norms and
dot products in float64.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

NEARLY_PARALLEL = 0.9995
"""Above this |cos| the weights of SLERP are those of linear interpolation, as in mergekit: sin ω is
so small there that dividing by it loses more than the curve gains."""

_CHUNK = 2**22
"""Numbers that are widened to float64 at once."""


def linear(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Σ_i w_i θ_i."""
    total = torch.zeros_like(tensors[0])
    for tensor, weight in zip(tensors, weights, strict=True):
        total += weight * tensor
    return total


def dot(left: Tensor, right: Tensor) -> float:
    """Of all numbers of two tensors."""
    parts = (torch.split(tensor.flatten(), _CHUNK) for tensor in (left, right))
    chunks = zip(*parts, strict=True)
    return sum(float(a.double() @ b.double()) for a, b in chunks)


def norm(tensor: Tensor) -> float:
    """‖θ‖ of all its numbers."""
    return math.sqrt(dot(tensor, tensor))


def cosine(left: Tensor, right: Tensor) -> float:
    """cos ω = û1 · û2; 1 where one has no direction, since nothing lies between them then."""
    length = norm(left) * norm(right)
    return max(-1.0, min(1.0, dot(left, right) / length)) if length else 1.0


def slerp_weights(cosine: float, t: float) -> tuple[float, float]:
    """sin((1-t) ω) / sin ω and sin(t ω) / sin ω; their limits 1 - t and t where the tensors are
    nearly parallel, or nearly opposite."""
    if abs(cosine) > NEARLY_PARALLEL:
        return 1 - t, t
    omega = math.acos(cosine)
    return math.sin((1 - t) * omega) / math.sin(omega), math.sin(t * omega) / math.sin(omega)


def slerp(left: Tensor, right: Tensor, t: float) -> Tensor:
    """The weights applied to the tensors as they are: what mergekit does, and with it the paper's
    experiments."""
    return linear([left, right], slerp_weights(cosine(left, right), t))


def normalised_slerp(left: Tensor, right: Tensor, t: float) -> Tensor:
    """‖θ1‖^(1-t) ‖θ2‖^t times the weights applied to the unit vectors: what the paper writes."""
    norms = norm(left), norm(right)
    if t in (0, 1) or 0 in norms:  # exact, where the norms' rounding would show
        return linear([left, right], [1 - t, t])
    scale = norms[0] ** (1 - t) * norms[1] ** t
    weights = slerp_weights(cosine(left, right), t)
    return linear([left, right], [scale * w / n for w, n in zip(weights, norms, strict=True)])


def task_arithmetic(base: Tensor, tensors: Sequence[Tensor], scale: float) -> Tensor:
    """θ_0 + λ Σ_i τ_i of the task vectors τ_i = θ_i - θ_0."""
    vectors = [tensor - base for tensor in tensors]
    return base + linear(vectors, [scale] * len(vectors))


def ties(base: Tensor, tensors: Sequence[Tensor], density: float, scale: float) -> Tensor:
    """θ_0 + λ τ_m: of the task vectors the largest entries are kept (trim), each entry's sign is
    that of their sum (elect), and τ_m is the mean of those that have it (disjoint merge)."""
    vectors_P = torch.stack([trimmed(tensor - base, density) for tensor in tensors])
    elected = vectors_P.sum(0).sign()
    agrees_P = vectors_P.sign() == elected
    count = agrees_P.sum(0).clamp(min=1)
    return base + scale * (vectors_P * agrees_P).sum(0) / count


def trimmed(vector: Tensor, density: float) -> Tensor:
    """The share `density` of its entries that are largest in magnitude (at least one; all that tie
    with the smallest of them), zeros elsewhere."""
    sizes = vector.abs().flatten()
    kept = max(1, round(density * sizes.numel()))
    threshold = sizes.kthvalue(sizes.numel() - kept + 1).values
    return torch.where(vector.abs() >= threshold, vector, torch.zeros_like(vector))
