"""Binary FeedME: supervised fine-tuning goes on with the answers that were preferred.

AlpacaFarm (arXiv 2305.14387): the losers are dropped, and the start policy learns the
winners as it learned its demonstrations; the rest is `methods.sft`. AlpacaFarm states no settings
of its own for it.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from farm.training.preferences import decided, heard, note_labels
from farm.types import Inputs, Need, PolicyRef
from methods.sft import SFT

if TYPE_CHECKING:
    from farm.context import Context


@dataclass(frozen=True, kw_only=True)
class BinaryFeedME(SFT):
    """Learns from the winners of `inputs.judgments`, one row for each label that leans to a side;
    ties and missing verdicts give none and are counted in `labels.json`. Metrics as of SFT.

    Raises `ConfigError` for values out of range and `DataError` where no judgment prefers an
    answer.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"judgments"})

    def fit(self, start: PolicyRef, inputs: Inputs, context: "Context") -> PolicyRef:
        """The policy that answers as the winners do."""
        found = heard(inputs.judgments or ())
        note_labels(found, context)
        winners = [
            replace(preference.instruction, demonstration=preference.chosen)
            for preference in decided(found.labels)
        ]
        return super().fit(start, Inputs(demonstrations=winners), context)
