"""Correlations of two figures over systems [S], row by row over bootstrap samples [R]."""

import numpy as np

from farm.evaluation.intervals import ratio
from farm.protocols import FloatArray


def pearson(x_R_S: FloatArray, y_R_S: FloatArray) -> FloatArray:
    """Pearson's correlation of each row, [R]; NaN where one of the two is constant."""
    x, y = (v - v.mean(axis=1, keepdims=True) for v in (x_R_S, y_R_S))
    return ratio((x * y).sum(axis=1), np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1)))


def spearman(x_R_S: FloatArray, y_R_S: FloatArray) -> FloatArray:
    """Spearman's rank correlation of each row, [R]; ties share their mean rank."""
    return pearson(ranks(x_R_S), ranks(y_R_S))


def kendall(x_R_S: FloatArray, y_R_S: FloatArray) -> FloatArray:
    """Kendall's tau-b of each row, [R]: concordant less discordant pairs, with ties taken out."""
    x, y = (np.sign(v[:, :, None] - v[:, None, :]) for v in (x_R_S, y_R_S))
    pairs = (1, 2)
    return ratio((x * y).sum(axis=pairs), np.sqrt((x**2).sum(axis=pairs) * (y**2).sum(axis=pairs)))


def ranks(values_R_S: FloatArray) -> FloatArray:
    """From 1 for the lowest of each row; ties share their mean rank, a NaN makes its row NaN."""
    from scipy.stats import rankdata

    found: FloatArray = rankdata(values_R_S, axis=1, nan_policy="propagate")
    return found
