"""Checks of constructor values."""

from farm.errors import ConfigError


def require(key: str, value: object, right: str, ok: bool) -> None:
    """Raise `ConfigError` unless the value of `key` is `ok`; `right` says what would be."""
    if not ok:
        raise ConfigError(f"{key}={value!r}: must be {right}.")


def require_at_least(key: str, value: float | None, minimum: float) -> None:
    """`require` for numbers with a lower bound; None stands for "not set" and passes."""
    require(key, value, f"at least {minimum}", value is None or value >= minimum)
