"""Weights on disk, tensor by tensor: safetensors files of a model directory, read and written so
that no more than one of their shards is in memory."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from farm.errors import DataError

SHARD_BYTES = 2 * 2**30
"""Of a written file, at most; a larger tensor has one of its own."""

INDEX = "model.safetensors.index.json"
_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
"""Safetensors' names."""


class Stored(NamedTuple):
    """What is known of a tensor before it is read."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    file: Path

    def bytes(self, dtype: torch.dtype) -> int:
        """What it takes in a dtype."""
        numbers = 1
        for size in self.shape:
            numbers *= size
        return numbers * dtype.itemsize


class Weights:
    """The tensors of one model directory, by name."""

    def __init__(self, folder: str | Path) -> None:
        """Reads headers alone. Raises DataError where there are no safetensors files."""
        self.folder = Path(folder)
        self.stored = dict(_stored(self.folder))
        if not self.stored:
            raise DataError(f"{folder}: there are no weights here (model*.safetensors).")

    def __getitem__(self, name: str) -> Tensor:
        """Read one; memory is the caller's alone."""
        with safe_open(self.stored[name].file, framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor


def _stored(folder: Path) -> Iterator[tuple[str, Stored]]:
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                tensor = file.get_slice(name)
                dtype = _DTYPES.get(tensor.get_dtype())
                if dtype is None:
                    raise DataError(
                        f"{path}: {name} is of type {tensor.get_dtype()}. Right would be one of "
                        f"{', '.join(_DTYPES)}."
                    )
                yield name, Stored(tuple(tensor.get_shape()), dtype, path)


def write(
    folder: Path,
    sizes: Mapping[str, int],
    tensors: Iterable[tuple[str, Tensor]],
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write tensors, which come in the order of `sizes` (bytes by name), as transformers does: one
    file, or shards and their index."""
    shards = _planned(sizes, shard_bytes)
    coming = iter(tensors)
    where: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        file = file if len(shards) > 1 else "model.safetensors"
        shard = {}
        for expected in names:
            name, tensor = next(coming)
            assert name == expected, f"{name} comes where {expected} should"
            shard[name] = tensor.contiguous()
        save_file(shard, folder / file, metadata={"format": "pt"})
        where |= dict.fromkeys(names, file)
    if len(shards) > 1:
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": where}
        (folder / INDEX).write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")


def _planned(sizes: Mapping[str, int], limit: int) -> list[list[str]]:
    """Names by shard, in order."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if shards[-1] and filled + size > limit:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards
