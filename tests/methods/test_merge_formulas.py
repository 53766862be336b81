"""Merging formulas in closed form, at their ends and in their limits; where a schedule goes."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from farm.errors import ConfigError
from farm.seeds import generator
from methods.merging.formulas import (
    NEARLY_PARALLEL,
    cosine,
    linear,
    normalised_slerp,
    slerp,
    slerp_weights,
    task_arithmetic,
    ties,
    trimmed,
)
from methods.merging.schedules import ByDepth, ByPart, Constant, Place, places
from methods.merging.ways import Linear, NormalisedSlerp, Slerp, TaskArithmetic, Ties, Way

SLERPS = (slerp, normalised_slerp)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(generator(seed, "tensor").normal(size=shape).astype(np.float32))


def turned(left: Tensor, cos: float) -> Tensor:
    """A tensor of the same norm at this cosine."""
    other = drawn(*left.shape, seed=9)
    other = other - left * (other * left).sum() / (left * left).sum()
    other = other / other.norm() * left.norm()
    return cos * left + math.sqrt(1 - cos**2) * other


@pytest.mark.parametrize("formula", SLERPS)
@pytest.mark.parametrize("cos", [-0.99999, -0.3, 0.5, 0.999, 0.99999])
def test_ends_are_the_policies_to_the_last_bit(formula: type, cos: float) -> None:
    left = drawn(7, 5)
    right = 3.7 * turned(left, cos)
    assert formula(left, right, 0.0).equal(left)
    assert formula(left, right, 1.0).equal(right)
    assert linear([left, right], [0.0, 1.0]).equal(right)


@pytest.mark.parametrize("formula", SLERPS)
def test_it_turns_at_even_speed_and_keeps_a_common_norm(formula: type) -> None:
    left = drawn(8, 8)
    right = turned(left, math.cos(1.2))
    for t in (0.25, 0.5, 0.9):
        between = formula(left, right, t)
        assert float(between.norm()) == pytest.approx(float(left.norm()), rel=1e-5)
        assert cosine(left, between) == pytest.approx(math.cos(1.2 * t), abs=1e-6)


def test_normalised_norms_are_interpolated_geometrically() -> None:
    left = drawn(6, 6)
    right = 4 * turned(left, 0.2)
    between = normalised_slerp(left, right, 0.25)
    assert float(between.norm()) == pytest.approx(float(left.norm()) * 4**0.25, rel=1e-5)
    raw = slerp(left, right, 0.25)
    weights = slerp_weights(cosine(left, right), 0.25)
    assert raw.allclose(weights[0] * left + weights[1] * right)
    assert not raw.allclose(between, rtol=0.01)


@pytest.mark.parametrize("sign", [1, -1])
def test_nearly_parallel_tensors_are_interpolated_linearly(sign: int) -> None:
    assert slerp_weights(sign * (NEARLY_PARALLEL + 1e-6), 0.3) == (0.7, 0.3)
    assert slerp_weights(sign * NEARLY_PARALLEL, 0.3) != (0.7, 0.3)


def test_the_curve_has_the_line_as_its_limit() -> None:
    left = drawn(9, 9)
    gaps = []
    for cos in (0.9, 0.99, 0.9994):
        right = turned(left, cos)
        line = linear([left, right], [0.6, 0.4])
        gaps.append(float((slerp(left, right, 0.4) - line).norm() / left.norm()))
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 2e-4


def test_what_has_no_direction_is_interpolated_linearly() -> None:
    zero, other = torch.zeros(3, 2), drawn(3, 2)
    for formula in SLERPS:
        assert formula(zero, other, 0.25).allclose(0.25 * other)


def test_task_vectors_are_added_to_the_base() -> None:
    base, one, two = drawn(4), drawn(4, seed=1), drawn(4, seed=2)
    assert task_arithmetic(base, [one, two], 0.5).allclose(base + 0.5 * (one + two - 2 * base))


def test_ties_trims_elects_and_averages_who_agrees() -> None:
    base = torch.ones(5)
    vectors = torch.tensor([[4.0, -3.0, 0.1, 2.0, 1.0], [2.0, 5.0, 0.2, -2.5, 0.9]])
    merged = ties(base, list(base + vectors), density=0.6, scale=2.0)
    # Kept: (4, -3, 0, 2, 0) and (2, 5, 0, -2.5, 0); signs of the sums: +, +, 0, -, 0.
    assert merged.allclose(base + 2 * torch.tensor([3.0, 5.0, 0.0, -2.5, 0.0]))


def test_of_one_policy_with_all_entries_ties_gives_that_policy() -> None:
    base, other = drawn(6, 3), drawn(6, 3, seed=1)
    assert ties(base, [other], density=1.0, scale=1.0).allclose(other, atol=1e-6)


def test_trimming_keeps_the_stated_share() -> None:
    vector = drawn(10, 20)
    kept = trimmed(vector, 0.2)
    assert int((kept != 0).sum()) == 40
    assert vector[kept == 0].abs().max() < kept[kept != 0].abs().min()
    assert int((trimmed(vector, 1e-6) != 0).sum()) == 1


NAMES = [
    "model.embed_tokens.weight",
    *(f"model.layers.{n}.self_attn.q_proj.weight" for n in range(5)),
    *(f"model.layers.{n}.mlp.up_proj.weight" for n in range(5)),
    "model.norm.weight",
]


def test_schedules_go_over_depth_and_parts() -> None:
    of = {place.name: place for place in places(NAMES)}
    embed, attention, mlp = NAMES[0], NAMES[1:6], NAMES[6:11]
    parts = ByPart(anchors={"self_attn": [0, 0.5, 1.0], "mlp": [1.0, 0.0]}, other=0.3)
    assert [parts.at(of[name]) for name in attention] == [0, 0.25, 0.5, 0.75, 1.0]
    assert [parts.at(of[name]) for name in mlp] == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert parts.at(of[embed]) == 0.3
    depth = ByDepth(outside=0.4)
    assert [depth.at(of[name]) for name in (attention[1], mlp[1], embed)] == [0.25, 0.25, 0.4]


def test_a_model_of_one_layer_has_the_first_anchor() -> None:
    (place,) = places(["layers.0.mlp.weight"])
    assert ByDepth(anchors=[0.2, 1.0]).at(place) == 0.2


def test_norms_are_interpolated_linearly() -> None:
    left, right = drawn(12), drawn(12, seed=1)
    for way in (Slerp(t=Constant(t=0.3)), NormalisedSlerp(t=Constant(t=0.3))):
        assert way.merge([left, right], Place("norm", None)).equal(0.7 * left + 0.3 * right)


@pytest.mark.parametrize(
    ("way", "policies", "said"),
    [
        (Linear(weights=[0.5, 0.5]), 3, "3 numbers"),
        (Slerp(t=Constant()), 3, "two"),
        (TaskArithmetic(scale=1.0), 1, "two or more"),
        (Ties(scale=1.0, density=0.2), 1, "two or more"),
    ],
)
def test_a_way_says_how_many_it_merges(way: Way, policies: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        way.check(policies)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Linear(weights=[0.5, 0.6]), "sum to 1"),
        (lambda: Ties(scale=1.0, density=0.0), "density"),
        (lambda: Constant(t=1.5), "t="),
        (lambda: ByDepth(anchors=[]), "anchors"),
        (lambda: ByPart(anchors={"mlp": [2.0]}), "anchors.mlp"),
    ],
)
def test_values_that_make_no_sense_are_named(make: type, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()
