import numpy as np
import pandas as pd
from scipy.stats import t

from farm.studies.over_seeds import over_seeds


def test_means_and_students_interval_in_the_order_of_the_rows() -> None:
    x = [1.0, 2.0, 6.0]
    frame = pd.DataFrame({"who": ["b"] * 3 + ["a"] * 3, "x": [*x, *(10 * v for v in x)], "y": 1.0})
    found = over_seeds(frame, ["who"], ["x", "y"]).set_index("who")
    assert found.index.tolist() == ["b", "a"]
    low, high = t.interval(0.95, 2, loc=3.0, scale=np.std(x, ddof=1) / np.sqrt(3))
    np.testing.assert_allclose(found.loc["b", ["x", "x_low", "x_high"]], [3.0, low, high])
    np.testing.assert_allclose(found.loc["a", "x_high"], 10 * high)
    assert found.loc["a", ["y", "y_low", "y_high"]].tolist() == [1.0, 1.0, 1.0]


def test_one_seed_has_no_interval() -> None:
    found = over_seeds(pd.DataFrame({"who": ["a"], "x": [2.0]}), ["who"], ["x"]).iloc[0]
    assert found["x"] == 2.0
    assert np.isnan(found["x_low"]) and np.isnan(found["x_high"])
