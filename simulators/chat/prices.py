"""What tokens cost: the table beside this module, with where and when each figure was read."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import cast

from omegaconf import OmegaConf

from farm.types import Usage


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens. Reasoning tokens are billed as output."""

    input_usd_per_million: float
    output_usd_per_million: float

    def of(self, usage: Usage) -> float:
        """Dollars."""
        return (
            usage.prompt_tokens * self.input_usd_per_million
            + usage.completion_tokens * self.output_usd_per_million
        ) / 1e6


def _models(text: str) -> Mapping[str, Mapping[str, float]]:
    table = OmegaConf.to_container(OmegaConf.create(text))
    assert isinstance(table, dict)
    return cast(Mapping[str, Mapping[str, float]], table["models"])


@cache
def price_table() -> Mapping[str, Price]:
    """Prices by model name."""
    text = (resources.files("simulators.chat") / "prices.yaml").read_text(encoding="utf-8")
    return {
        model: Price(row["input_usd_per_million"], row["output_usd_per_million"])
        for model, row in _models(text).items()
    }
