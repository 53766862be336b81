"""Where the variance of a study's mean comes from, and what more seeds or instructions would buy.

Every training seed s answers every instruction i, so the two are crossed:

    y_si = mean + seed_s + instruction_i + residual_si,

all effects independent. The residual is what only this seed does on this instruction; where a cell
holds repeats (decoding draws, judge reruns in each of them) these are nested in it and their
variance is taken out of the residual. Estimates are by the method of moments (ANOVA where nothing
is missing), cut at 0.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from farm.errors import DataError
from farm.protocols import FloatArray


class Components(NamedTuple):
    """Variances by source: seed, instruction, residual, then nested repeats from the outside in.

    In the squared unit of the values.
    """

    variances: Mapping[str, float]
    """Of one effect."""
    levels: Mapping[str, float]
    """How many such effects the study's mean averages; where verdicts are missing, how many equally
    weighted ones would average as well."""

    @property
    def of_mean(self) -> dict[str, float]:
        """Each source's part of the variance of the study's mean."""
        return {name: value / self.levels[name] for name, value in self.variances.items()}

    @property
    def shares(self) -> dict[str, float]:
        """`of_mean` in percent of its sum; NaN where nothing varies."""
        parts = self.of_mean
        total = sum(parts.values())
        return {name: 100 * part / total if total else np.nan for name, part in parts.items()}

    @property
    def standard_error(self) -> float:
        """Of the study's mean."""
        return float(np.sqrt(sum(self.of_mean.values())))


class Student(NamedTuple):
    """A mean over crossed seeds and instructions, for Student's t."""

    estimate: float
    standard_error: float
    degrees_of_freedom: float

    @property
    def p_value(self) -> float:
        """Two-sided, that the true mean is 0."""
        from scipy.stats import t

        if self.standard_error == 0:
            return 1.0 if self.estimate == 0 else 0.0
        ratio = abs(self.estimate) / self.standard_error
        return float(2 * t.sf(ratio, self.degrees_of_freedom))


class Moments(NamedTuple):
    """Variances of the crossed design before they are cut at 0; NaN where not identified."""

    seed: float
    instruction: float
    residual: float


def variance_components(values_S_N: FloatArray, *, nested: Sequence[str] = ()) -> Components:
    """Components of values over seeds [S], instructions [N] and one more axis per nested source.

    `nested=("decoding", "judge")` takes [S, N, draws, reruns]. NaN is no verdict. Every seed weighs
    the same. Raises `DataError` where a source cannot be told from the others: fewer than two
    seeds, no instruction that two seeds answered, or no cell with two repeats.
    """
    values = np.asarray(values_S_N, dtype=np.float64)
    if values.ndim != 2 + len(nested):
        axes = ", ".join(("seed", "instruction", *nested))
        raise DataError(f"variance components need the axes {axes}; the values have {values.ndim}.")
    levels = _levels(values, nested)
    repeats: dict[str, float] = {}
    noise = np.zeros(values.shape)
    for name in reversed(nested):
        repeats[name], values, noise = _collapsed(name, values, noise)
    found = _identified(values)
    residual = found.residual - float(noise[~np.isnan(values)].mean())
    crossed = Moments(found.seed, found.instruction, residual)._asdict()
    inward = {name: repeats[name] for name in nested}
    return Components({k: max(0.0, float(v)) for k, v in {**crossed, **inward}.items()}, levels)


def planned_standard_error(
    components: Components,
    seeds: int,
    instructions: int,
    repeats: Mapping[str, int] | None = None,
) -> float:
    """Standard error of the mean over another number of seeds and instructions.

    `repeats` says how often each nested source is repeated within the one before it; as often as in
    the study where it is not named. With the components of paired differences it is the standard
    error of the difference.
    """
    variances, levels = components.variances, components.levels
    variance = variances["seed"] / seeds + variances["instruction"] / instructions
    effects, outer = float(seeds * instructions), "residual"
    variance += variances["residual"] / effects
    for name in list(variances)[3:]:
        effects *= (repeats or {}).get(name, levels[name] / levels[outer])
        variance, outer = variance + variances[name] / effects, name
    return float(np.sqrt(variance))


def student_mean(values_S_N: FloatArray) -> Student:
    """The mean over seeds [S] and instructions [N], every seed weighing the same.

    Its variance is that of the seeds' means, which holds the residual, and the instructions' own;
    degrees of freedom are Satterthwaite's (1946). With one seed it covers the instructions alone.
    Raises `DataError` for fewer than two verdicts, and where no two seeds share an instruction.
    """
    values = np.asarray(values_S_N, dtype=np.float64)
    known = ~np.isnan(values)
    values = values[known.any(axis=1)][:, known.any(axis=0)]
    if values.size < 2:
        raise DataError("a standard error needs at least two verdicts.")
    seeds, instructions = values.shape
    means_S = np.nanmean(values, axis=1)
    if seeds == 1:
        error = float(values.std(ddof=1) / np.sqrt(instructions))
        return Student(float(means_S[0]), error, instructions - 1)
    found, levels = _identified(values), _levels(values, ())
    of_seeds = float(means_S.var(ddof=1) / seeds)
    of_instructions = max(0.0, found.instruction) / levels["instruction"]
    freedom = of_seeds**2 / (seeds - 1)
    if of_instructions:
        residual = max(0.0, found.residual) / levels["residual"]
        freedom += (of_instructions + residual) ** 2 / (instructions - 1)
        freedom += residual**2 / (seeds - 1) / (instructions - 1)
    variance = of_seeds + of_instructions
    return Student(
        float(means_S.mean()), np.sqrt(variance), variance**2 / freedom if freedom else np.inf
    )


def _identified(values_S_N: FloatArray) -> Moments:
    """`moments`, raising `DataError` where they are NaN."""
    found = moments(values_S_N)
    if np.isnan(found.seed):
        raise DataError(
            "variance components need at least two seeds that answered the same instructions, and "
            "at least two instructions; the values are {} seeds by {} instructions with {} "
            "verdicts.".format(*values_S_N.shape, np.count_nonzero(~np.isnan(values_S_N)))
        )
    return found


def moments(values_S_N: FloatArray) -> Moments:
    """Gao and Owen's moment equations (arXiv 1610.08088, section 4): the sums of squares within
    seeds, within instructions and in all have expectations that are linear in the variances."""
    known = ~np.isnan(values_S_N)
    of_seed, of_instruction, n = known.sum(axis=1), known.sum(axis=0), known.sum()
    seeds, instructions = np.count_nonzero(of_seed), np.count_nonzero(of_instruction)
    if min(seeds, instructions) < 2 or n in (seeds, instructions):
        return Moments(np.nan, np.nan, np.nan)
    mean = values_S_N[known].mean()
    centred = np.where(known, values_S_N - mean, 0.0)
    total = (centred**2).sum()
    within_seeds = total - (centred.sum(axis=1) ** 2 / np.maximum(of_seed, 1)).sum()
    within_instructions = total - (centred.sum(axis=0) ** 2 / np.maximum(of_instruction, 1)).sum()
    equations = np.array(
        [
            [0, n - seeds, n - seeds],
            [n - instructions, 0, n - instructions],
            [n - (of_seed**2).sum() / n, n - (of_instruction**2).sum() / n, n - 1],
        ],
        dtype=np.float64,
    )
    if np.linalg.matrix_rank(equations) < 3:
        return Moments(np.nan, np.nan, np.nan)
    return Moments(*np.linalg.solve(equations, [within_seeds, within_instructions, total]))


def _levels(values: FloatArray, nested: Sequence[str]) -> dict[str, float]:
    """1 / sum of squared weights of every source's effects in the mean."""
    known = ~np.isnan(values)
    weights = known.astype(np.float64)
    for axis in range(values.ndim - 1, 0, -1):  # equal shares within each cell, then within seeds
        judged = weights.any(axis=tuple(range(axis + 1, values.ndim)), keepdims=True)
        weights = weights / np.maximum(judged.sum(axis=axis, keepdims=True), 1)
    weights /= weights.sum()
    inner = tuple(range(1, values.ndim))
    effects = {"seed": weights.sum(axis=inner), "instruction": weights.sum(axis=(0, *inner[1:]))}
    for depth, name in enumerate(("residual", *nested), start=2):
        effects[name] = weights.sum(axis=tuple(range(depth, values.ndim)))
    return {name: float(1 / (weight**2).sum()) for name, weight in effects.items()}


def _collapsed(
    name: str, values: FloatArray, noise: FloatArray
) -> tuple[float, FloatArray, FloatArray]:
    """(variance among the last axis' repeats, their means, the noise that is left in the means).

    `noise` is the variance that the values have from sources further in.
    """
    known = ~np.isnan(values)
    counts = known.sum(axis=-1)
    means = np.where(known, values, 0.0).sum(axis=-1) / np.where(counts, counts, np.nan)
    freedom = np.maximum(counts - 1, 0).sum()
    if not freedom:
        raise DataError(f"the variance among {name} repeats needs a cell with two of them.")
    squares = (np.where(known, values - means[..., None], 0.0) ** 2).sum()
    variance = max(0.0, float(squares / freedom - noise[known].mean()))
    left = np.where(known, variance + noise, 0.0).sum(axis=-1) / np.maximum(counts, 1) ** 2
    return variance, means, left
