"""KL controllers: the adaptive one finds the coefficient that gives its target."""

import pytest

from farm.errors import ConfigError
from farm.training.kl_control import AdaptiveKL, FixedKL


def test_fixed_stays() -> None:
    assert FixedKL(0.2).update(0.2, kl_to_start=100.0) == 0.2


def test_adaptive_moves_towards_its_target_by_at_most_gain_times_a_fifth() -> None:
    control = AdaptiveKL(coefficient=0.2, target=6.0, gain=0.1)
    assert control.update(0.2, 6.0) == 0.2
    assert control.update(0.2, 6.6) == pytest.approx(0.2 * 1.01)
    assert control.update(0.2, 600.0) == pytest.approx(0.2 * 1.02)
    assert control.update(0.2, 0.0) == pytest.approx(0.2 * 0.98)


def test_adaptive_settles_where_kl_meets_the_target() -> None:
    control = AdaptiveKL(coefficient=1.0, target=6.0, gain=0.5)
    coefficient = control.coefficient
    for _ in range(200):
        coefficient = control.update(coefficient, kl_to_start=1.5 / coefficient)
    assert coefficient == pytest.approx(0.25, rel=1e-3)


def test_wrong_values_name_their_key() -> None:
    with pytest.raises(ConfigError, match=r"target=0"):
        AdaptiveKL(coefficient=0.1, target=0.0, gain=0.1)
    with pytest.raises(ConfigError, match=r"coefficient=-1"):
        FixedKL(-1)
