"""Stage `verification`: what a verifier, of which no learner knew, says of a self-trained policy's
own tasks and of its answers to instructions.

`candidates.parquet` has one row per task of every round (`farm.data.candidates`), with `round`, its
`text`, the `verdict` on its answer (NaN where there is none, or the verifier does not understand
the task) and for every other assessment NAME a column `by NAME` of scores (NaN where a rule dropped
the task). `answers.parquet` has one row per policy and instruction: policy, category, verdict.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from farm.config import build
from farm.data.candidates import FILE, Candidate, read_candidates
from farm.data.records import last_user_text
from farm.protocols import FloatArray, Scorer
from farm.stages.instructions import load_split
from farm.stages.job import Job
from farm.stages.outputs import first_texts

if TYPE_CHECKING:
    import pandas as pd

STAGE_VERSION = 1  # see farm.builder.Step

ANSWERS = "answers "
"""Before a policy's name, the name of the parent that holds its answers."""
SCORED = "by "
"""Before an assessment's name, the name of its column."""


def run(job: Job) -> dict[str, Any]:
    """Verify everything."""
    import pandas as pd

    verifier: Scorer = build(job.config["verifier"])
    assessments = {name: build(node) for name, node in job.config["assessments"].items()}
    rounds = [
        _round(number, candidates, verifier, assessments)
        for number, candidates in _rounds(job.parents["policy"])
    ]
    pd.concat(rounds, ignore_index=True).to_parquet(job.work / "candidates.parquet", index=False)
    answers = pd.concat(_answers(job, verifier), ignore_index=True)
    answers.to_parquet(job.work / "answers.parquet", index=False)
    return {"rounds": len(rounds)}


def _rounds(policy: Path) -> Iterator[tuple[int, list[Candidate]]]:
    number = 1
    while (path := policy / FILE.format(round=number)).exists():
        yield number, read_candidates(path)
        number += 1


def _round(
    number: int,
    candidates: Sequence[Candidate],
    verifier: Scorer,
    assessments: Mapping[str, Scorer],
) -> "pd.DataFrame":
    import pandas as pd

    rows = pd.DataFrame([asdict(candidate) for candidate in candidates])
    rows = rows.assign(
        round=number,
        text=[last_user_text(candidate.demonstration) for candidate in candidates],
        score=rows["score"].astype(np.float64),
        verdict=_where([c.answer is not None for c in candidates], candidates, verifier),
    )
    passed = [candidate.dropped_by is None for candidate in candidates]
    for name, scorer in assessments.items():
        rows[f"{SCORED}{name}"] = _where(passed, candidates, scorer)
    return rows


def _where(asked: Sequence[bool], candidates: Sequence[Candidate], scorer: Scorer) -> FloatArray:
    """The scorer's numbers [N], NaN of candidates that it is not asked about."""
    scores_N = np.full(len(candidates), np.nan)
    chosen = [c.demonstration for c, wanted in zip(candidates, asked, strict=True) if wanted]
    scores_N[np.flatnonzero(asked)] = scorer.score(
        chosen, [row.demonstration or "" for row in chosen]
    )
    return scores_N


def _answers(job: Job, verifier: Scorer) -> "list[pd.DataFrame]":
    import pandas as pd

    asked = load_split(job.parents["instructions"], job.config["split"], job.config["limit"])
    known = {"instruction_id": [i.id for i in asked], "category": [i.category for i in asked]}
    return [
        pd.DataFrame(
            {
                "policy": name.removeprefix(ANSWERS),
                **known,
                "verdict": verifier.score(asked, first_texts(folder, asked)),
            }
        )
        for name, folder in job.parents.items()
        if name.startswith(ANSWERS)
    ]
