"""How strong preferences are."""

from collections.abc import Sequence

from farm.errors import DataError
from farm.types import LabeledPair


def strengths(labels: Sequence[LabeledPair]) -> list[float]:
    """|strength| of each label; 0 for a tie, whether it says so or not.

    Raises `DataError` where a label prefers an answer and does not say by how much (to leave such
    labels out would leave the noise out, whose coins say nothing of that), and where all are 0.
    """
    silent = [j for _, j in labels if j.strength is None and j.preference != 0.5]
    if silent:
        raise DataError(
            f"{len(silent)} of {len(labels)} labels prefer an answer but do not say how strongly; "
            f"the first is by {silent[0].annotator}. Strengths are given by annotators=barnyard_"
            "graded and by LLM judges that rate (simulators.judges.parsers.Ratings), with noise of "
            "the kind that turns whole labels (simulators.noise.DifficultyFlip)."
        )
    found = [abs(judgment.strength or 0.0) for _, judgment in labels]
    if not any(found):
        raise DataError(f"all of the {len(labels)} labels have strength 0: nothing is preferred.")
    return found
