"""Policies on disk become one on disk, a tensor at a time: memory is that of one shard and of one
tensor of every policy, whatever the models' size."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from farm.errors import DataError
from farm.models.load import load_config, load_tokenizer
from farm.models.shards import SHARD_BYTES, Stored, Weights, write
from methods.merging.formulas import NEARLY_PARALLEL, cosine, norm
from methods.merging.schedules import Place, places

if TYPE_CHECKING:
    from methods.merging.ways import Way


class Likeness(NamedTuple):
    """One tensor of another policy against the first policy's."""

    name: str
    depth: float | None
    """0 in the first layer, 1 in the last; null outside the layers."""
    dimensions: int
    numbers: int
    policy: int
    """Which of the policies, counted from 0."""
    cosine: float
    nearly_parallel: bool
    """Whether |cos| is so near to 1 that SLERP is linear interpolation."""
    distance: float
    """‖θ_policy - θ_first‖ / ‖θ_first‖; infinite where the first is 0 and the other is not."""


def merge_folders(
    folders: Sequence[Path], way: "Way", into: Path, shard_bytes: int = SHARD_BYTES
) -> list[Likeness]:
    """Write the merged weights with the policies' config and tokenizer. A tensor keeps its dtype;
    where policies differ, it has the one that holds both. Tokens that have no embedding yet in a
    policy get the one that `farm.models.load.cover` gives them. Raises DataError, before anything
    is written, for policies of different shapes or vocabularies."""
    policies = [Weights(folder) for folder in folders]
    _check_same(policies)
    wanted = {name: _wanted(policies, name) for name in policies[0].stored}
    sizes = {name: stored.bytes(stored.dtype) for name, stored in wanted.items()}
    found: list[Likeness] = []
    into.mkdir(parents=True)
    write(into, sizes, _merged(policies, way, wanted, found), shard_bytes)
    _write_configs(policies, into, wanted)
    return found


def _wanted(policies: Sequence[Weights], name: str) -> Stored:
    """A tensor as it will be: the largest shape, the widest dtype."""
    all_ = [policy.stored[name] for policy in policies]
    dtype = all_[0].dtype
    for stored in all_[1:]:
        dtype = torch.promote_types(dtype, stored.dtype)
    return max(all_, key=lambda stored: stored.shape)._replace(dtype=dtype)


def _merged(
    policies: Sequence[Weights],
    way: "Way",
    wanted: Mapping[str, Stored],
    found: list[Likeness],
) -> Iterator[tuple[str, Tensor]]:
    for place in places(list(wanted)):
        shape, dtype = wanted[place.name].shape, wanted[place.name].dtype
        tensors = [policy[place.name] for policy in policies]
        if not dtype.is_floating_point:
            yield place.name, _equal(tensors, place.name, policies)
            continue
        wide = torch.promote_types(dtype, torch.float32)
        tensors = [_covering(tensor.to(wide), shape) for tensor in tensors]
        found += _likenesses(tensors, place)
        yield place.name, way.merge(tensors, place).to(dtype)


def _covering(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """With a row for every token: the mean of all others where it had none."""
    if tensor.shape == tuple(shape):
        return tensor
    rows = shape[0] - tensor.shape[0]
    return torch.cat([tensor, tensor.mean(0, keepdim=True).expand(rows, -1)])


def _likenesses(tensors: Sequence[Tensor], place: Place) -> Iterator[Likeness]:
    first, length = tensors[0], norm(tensors[0])
    for number, other in enumerate(tensors[1:], start=1):
        between, away = cosine(first, other), norm(other - first)
        yield Likeness(
            place.name, place.depth, first.dim(), first.numel(), number, between,
            abs(between) > NEARLY_PARALLEL, away / length if length else away and torch.inf,
        )  # fmt: skip


def _equal(tensors: Sequence[Tensor], name: str, policies: Sequence[Weights]) -> Tensor:
    for tensor, policy in zip(tensors, policies, strict=True):
        if not tensor.equal(tensors[0]):
            raise DataError(
                f"{name} holds whole numbers, which cannot be averaged, and they differ between "
                f"{policies[0].folder} and {policy.folder}."
            )
    return tensors[0]


# ------------------------------------------------------------------------------------- checks


def _check_same(policies: Sequence[Weights]) -> None:
    first = policies[0]
    vocabulary = _vocabulary(first)
    for other in policies[1:]:
        if (theirs := _vocabulary(other)) != vocabulary:
            odd = sorted(vocabulary.items() ^ theirs.items(), key=str)
            raise DataError(
                f"{first.folder} and {other.folder} cannot be merged: their tokenizers differ, for "
                f"instance in {', '.join(repr(token) for token, _ in odd[:3])}. Right would be "
                "policies with one vocabulary."
            )
        _check_tensors(first, other, len(vocabulary))


def _check_tensors(first: Weights, other: Weights, tokens: int) -> None:
    wrong = [
        f"{name} is {_shape(first.stored.get(name))} in {first.folder} and "
        f"{_shape(other.stored.get(name))} in {other.folder}"
        for name in sorted(first.stored.keys() | other.stored.keys())
        if not _fit(first.stored.get(name), other.stored.get(name), tokens)
    ]
    if wrong:
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise DataError(
            f"these policies cannot be merged: {'; '.join(wrong[:3])}{more}. Right would be "
            "policies of one architecture and size, with one vocabulary."
        )


def _fit(first: Stored | None, other: Stored | None, tokens: int) -> bool:
    """Whether two tensors have one shape, but for rows of tokens that one of them lacks."""
    if first is None or other is None:
        return False
    few, many = sorted([first.shape, other.shape])
    lacks = len(few) == len(many) == 2 and few[1] == many[1] and few[0] < tokens <= many[0]
    return few == many or lacks


def _shape(stored: Stored | None) -> str:
    return "missing" if stored is None else " x ".join(map(str, stored.shape)) or "a number"


def _vocabulary(policy: Weights) -> dict[str, int]:
    vocabulary: dict[str, int] = load_tokenizer(policy.folder).get_vocab()
    return vocabulary


def _write_configs(policies: Sequence[Weights], into: Path, wanted: Mapping[str, Stored]) -> None:
    from transformers import GenerationConfig

    def numbers(policy: Weights) -> int:
        return sum(stored.bytes(torch.uint8) for stored in policy.stored.values())

    folder = max(policies, key=numbers).folder  # the first, unless another has more tokens
    config: Any = load_config(folder)
    config.dtype = next(s.dtype for s in wanted.values() if s.dtype.is_floating_point)
    config.save_pretrained(into)
    load_tokenizer(folder).save_pretrained(into)
    if (folder / "generation_config.json").exists():
        GenerationConfig.from_pretrained(folder).save_pretrained(into)
