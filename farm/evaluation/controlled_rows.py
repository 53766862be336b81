"""From frames of verdicts to the design matrix of a controlled win rate."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from farm.errors import DataError
from farm.evaluation.glm import Rows
from farm.protocols import FloatArray

if TYPE_CHECKING:
    import pandas as pd

GAMED_WEIGHT = 0.1
"""Of one row of a gamed baseline: the paper's lambda of 0.2, shared by two variants."""


class Design(NamedTuple):
    """What is fitted and what is predicted; the columns are M mediators, difficulty where there
    is one, and model."""

    rows: Rows
    """The gamed baseline's rows, then the policy's N, AlpacaEval's order."""
    at_equality_N_K: FloatArray
    """The policy's rows with every mediator equal."""
    scales_M: FloatArray
    """Standard deviation (ddof 1) of each mediator's difference over the policy's rows."""
    instructions: NDArray[np.int64]
    """Which rows share an instruction, as numbers from 0."""
    confounded: bool
    """Whether some mediator differs by the same amount in all rows of the policy, so that it
    cannot be told from quality."""
    n_missing: int

    @property
    def n(self) -> int:
        """Verdicts on the policy."""
        return len(self.at_equality_N_K)


class Verdicts(NamedTuple):
    """The rows of a frame that have a verdict, as arrays."""

    instruction_ids: "pd.Index[Any]"
    preferences_N: FloatArray
    differences_N_M: FloatArray
    """Baseline minus policy."""

    @property
    def n(self) -> int:
        """How many there are."""
        return len(self.preferences_N)


def design(
    frame: "pd.DataFrame",
    mediators: Sequence[str],
    difficulty: "pd.Series[float] | None",
    gamed: "pd.DataFrame | None",
) -> Design:
    """Rows without a verdict are left out. Raises `DataError` on missing columns, verdicts outside
    [0, 1], and mediators or difficulties that are not known."""
    own = read_verdicts(frame, mediators)
    sources = [*(read_verdicts(each, mediators) for each in _variants(gamed)), own]
    ids = sources[0].instruction_ids.append([each.instruction_ids for each in sources[1:]])
    is_model = np.repeat([0.0, 1.0], [len(ids) - own.n, own.n])
    columns = [np.concatenate([bounded(each.differences_N_M) for each in sources])]
    if difficulty is not None:
        columns.append(_difficulties(difficulty, ids))
    matrix = np.column_stack([*columns, is_model])
    at_equality_N_K = matrix[len(ids) - own.n :].copy()
    at_equality_N_K[:, : len(mediators)] = 0
    scales_M = _spread(own.differences_N_M)
    return Design(
        rows=Rows(
            matrix,
            np.concatenate([each.preferences_N for each in sources]),
            np.where(is_model == 1, 1.0, GAMED_WEIGHT),
        ),
        at_equality_N_K=at_equality_N_K,
        scales_M=scales_M,
        instructions=ids.factorize()[0],
        confounded=bool(own.differences_N_M[:, scales_M == 0].any()),
        n_missing=len(frame) - own.n,
    )


def read_verdicts(frame: "pd.DataFrame", mediators: Sequence[str]) -> Verdicts:
    """The rows that have a verdict. Raises `DataError` as `design` does."""
    import pandas as pd

    sides = [[f"{name}_{side}" for name in mediators] for side in ("baseline", "model")]
    needed = ["instruction_id", "preference", *sides[0], *sides[1]]
    if absent := [name for name in needed if name not in frame.columns]:
        raise DataError(f"the frame of verdicts lacks {absent}; it has {list(frame.columns)}")
    preferences_N = _numbers(frame, ["preference"])[:, 0]
    known = ~np.isnan(preferences_N)
    preferences_N = preferences_N[known]
    if ((preferences_N < 0) | (preferences_N > 1)).any():
        raise DataError(
            f"preferences lie in [{preferences_N.min():g}, {preferences_N.max():g}]; they must be "
            "P(the policy is better) in [0, 1] (AlpacaEval's code of 1 to 2, minus 1)"
        )
    baseline_N_M, model_N_M = (_numbers(frame, side)[known] for side in sides)
    differences_N_M = baseline_N_M - model_N_M
    if not np.isfinite(differences_N_M).all():
        raise DataError(f"rows with a verdict have no number in one of {sides[0] + sides[1]}")
    ids = pd.Index(frame["instruction_id"].array)
    return Verdicts(ids if known.all() else ids[known], preferences_N, differences_N_M)


def _variants(gamed: "pd.DataFrame | None") -> list["pd.DataFrame"]:
    """The frames of the gamed baseline, each of which has its own standard deviations."""
    if gamed is None:
        return []
    if "model" not in gamed.columns:
        return [gamed]
    return [each for _, each in gamed.groupby("model", sort=False)]


def _numbers(frame: "pd.DataFrame", names: Sequence[str]) -> FloatArray:
    columns = [frame[name].to_numpy(np.float64, na_value=np.nan) for name in names]
    return np.array(columns, np.float64).reshape(len(names), len(frame)).T


def _spread(differences_N_M: FloatArray) -> FloatArray:
    """Standard deviation (ddof 1) of each column, exactly 0 where it does not vary."""
    if len(differences_N_M) < 2:
        return np.zeros(differences_N_M.shape[1])
    varies = (differences_N_M != differences_N_M[0]).any(axis=0)
    return np.where(varies, differences_N_M.std(axis=0, ddof=1), 0.0)


def bounded(differences_N_M: FloatArray) -> FloatArray:
    """tanh of the standardised differences; 0 where they do not vary, since equal differences
    cannot tell a mediator from quality."""
    scales_M = _spread(differences_N_M)
    return np.asarray(np.tanh(differences_N_M / np.where(scales_M > 0, scales_M, np.inf)))


def _difficulties(difficulty: "pd.Series[float]", ids: "pd.Index[Any]") -> FloatArray:
    """gamma of each row; 0 where it does not vary, since it then cannot be told from theta."""
    if not difficulty.index.is_unique:
        twice = difficulty.index[difficulty.index.duplicated()]
        raise DataError(f"the difficulty of {list(twice[:5])} is given more than once")
    places = difficulty.index.get_indexer(ids)
    gamma = np.append(difficulty.to_numpy(np.float64), np.nan)[places]
    if np.isnan(gamma).any():
        unknown = list(ids[np.isnan(gamma)].unique())
        raise DataError(
            f"{len(unknown)} instructions have no difficulty, the first of them {unknown[:5]}; "
            "estimate it from several policies' verdicts (farm.evaluation.difficulty), or leave it "
            "out (difficulty=None)"
        )
    return gamma if (gamma != gamma[:1]).any() else np.zeros(len(ids))
