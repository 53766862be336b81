"""AlpacaEval's annotators (https://github.com/tatsu-lab/alpaca_eval), run as their directories
stand, over any chat model."""

from simulators.alpaca_eval.annotator import AlpacaEvalAnnotator

__all__ = ["AlpacaEvalAnnotator"]
