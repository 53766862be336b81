"""AlpacaEval's own fit: an L1 penalty chosen by cross-validation.

As alpaca_eval 0.6.6 calls scikit-learn: a soft verdict y becomes a row that says 1 with weight y
and one that says 0 with weight 1 - y; both stay in the same of 5 folds; of ten penalties the one
with the smallest held-out log loss is kept. liblinear's tolerance is loose, so its seed belongs to
the procedure: another order of its coordinates moves some rates by 0.05 points.
"""

import numpy as np

from farm.errors import DataError
from farm.evaluation.glm import GlmFit, Rows, fit_newton
from farm.protocols import FloatArray

FOLDS = 5
SEED = 123
ITERATIONS = 100


def fit_alpaca_eval(rows: Rows) -> GlmFit:
    """The weights at the penalty of the smallest held-out loss.

    Raises `DataError` with fewer rows than folds.
    """
    from sklearn import config_context
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.metrics import make_scorer
    from sklearn.model_selection import GroupKFold

    n = len(rows.targets_N)
    if n < FOLDS:
        raise DataError(f"{FOLDS} folds need at least {FOLDS} verdicts, and there are {n}")
    targets, weights = np.tile(rows.targets_N, 2), np.tile(rows.row_weights_N, 2)
    says = np.repeat([1, 0], n)
    with config_context(enable_metadata_routing=True):
        scorer = make_scorer(
            _soft_log_loss, response_method="predict_proba", greater_is_better=False
        )
        model = LogisticRegressionCV(
            cv=GroupKFold(FOLDS),
            l1_ratios=(1,),
            solver="liblinear",
            scoring=scorer.set_score_request(target=True, row_weight=True),
            fit_intercept=False,
            random_state=SEED,
            max_iter=ITERATIONS,
            use_legacy_attributes=False,
        ).set_fit_request(sample_weight=True)
        model.fit(
            np.tile(rows.design_N_K, (2, 1)),
            says,
            sample_weight=np.where(says == 1, targets, 1 - targets) * weights,
            groups=np.tile(np.arange(n), 2),
            target=targets,
            row_weight=weights,
        )
    converged = bool(np.max(model.n_iter_) < ITERATIONS)
    return GlmFit(model.coef_[0], converged, fit_newton(rows).identified)


def _soft_log_loss(
    says: FloatArray, p: FloatArray, target: FloatArray, row_weight: FloatArray
) -> float:
    """Nats, of the soft target, whatever the duplicated row says."""
    p = np.clip(p, 1e-15, 1 - 1e-15)
    return float(-np.mean(row_weight * (target * np.log(p) + (1 - target) * np.log(1 - p))))
