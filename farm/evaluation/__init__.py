"""Win rates and what they rest on: pure functions on arrays and frames."""

from farm.evaluation.human_anchored import HumanAnchored, human_anchored_win_rate
from farm.evaluation.length_control import LengthControlled, length_controlled_win_rate
from farm.evaluation.rates import Difference, WinRate, win_rate, win_rate_difference

__all__ = [
    "Difference",
    "HumanAnchored",
    "LengthControlled",
    "WinRate",
    "human_anchored_win_rate",
    "length_controlled_win_rate",
    "win_rate",
    "win_rate_difference",
]
