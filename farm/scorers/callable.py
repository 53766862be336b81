"""Any Python function as a scorer."""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from farm.artifacts import content_hash
from farm.checks import require
from farm.errors import ConfigError, DataError
from farm.protocols import FloatArray
from farm.types import Instruction


class CallableScorer:
    """A function with the signature of `Scorer.score`, named as `package.module:function`.

    It gets the instructions (`farm.types.Instruction`) and the answers' texts, aligned, and
    returns one number for each, NaN where it does not apply::

        def shorter(instructions, completions):
            return [-len(text) for text in completions]

    The function is imported at once, so that a wrong name ends a run before it begins: raises
    `ConfigError` where the name leads nowhere, and `DataError` where the function returns something
    else.
    """

    stage_version: ClassVar[int] = 1

    def __init__(self, function: str) -> None:
        module, _, name = function.partition(":")
        require("function", function, "of the form package.module:function", bool(module and name))
        self._name = function
        self._function = _imported(module, name)

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        """Scores [N]."""
        returned = self._function(instructions, completions)
        try:
            scores = np.asarray(returned, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"{self._name} did not return numbers: {error}.") from error
        if scores.shape != (len(completions),):
            raise DataError(
                f"{self._name} returned an array of shape {scores.shape} for {len(completions)} "
                f"answers; expected is one number each, shape ({len(completions)},)."
            )
        if np.isinf(scores).any():
            first = int(np.flatnonzero(np.isinf(scores))[0])
            raise DataError(
                f"{self._name} returned {scores[first]} for answer {first}: scores must be finite, "
                "or NaN where the function does not apply."
            )
        return scores

    def resolved(self) -> dict[str, str]:
        """The hashes of the modules that name and define the function; not of what they import."""
        modules = {self._name.partition(":")[0], self._function.__module__}
        return {module: content_hash(_source(module)) for module in sorted(modules)}


def _source(module: str) -> Path:
    file = getattr(importlib.import_module(module), "__file__", None)
    if file is None:
        raise ConfigError(
            f"function: the module {module} has no file, so that a change of it would not be "
            "noticed. Name a function in a module of your own."
        )
    return Path(file)


def _imported(module: str, name: str) -> Callable[..., Any]:
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"function='{module}:{name}': {error}. Name an importable module and a function in it."
        ) from error
    return function
