"""What readers are warned of, for configurations as they are composed."""

import pytest

from farm.caveats import judges, run_warnings, shared_judges
from farm.config import compose, plain

FILES = ["data=files", "data.path=rows.jsonl", "annotators=demonstration_overlap"]


@pytest.mark.parametrize(
    ("overrides", "warned_of"),
    [
        ([], []),
        (["evaluators=none"], ["no held-out evaluators"]),
        (["data.gold=none"], ["no gold scorer"]),
        ([*FILES, "evaluators=none"], ["no held-out evaluators", "no gold scorer"]),
        (["evaluators.judge=${annotators.clean}"], ["share name brisk, name careful"]),
    ],
)
def test_every_doubt_is_one_sentence(overrides: list[str], warned_of: list[str]) -> None:
    warnings = run_warnings(plain(compose(overrides)))
    assert len(warnings) == len(warned_of)
    assert all(part in warning for part, warning in zip(warned_of, warnings, strict=True))


def test_judges_are_known_by_name_model_and_prompt_wherever_they_are_wrapped() -> None:
    persona = {"_target_": "simulators.persona.Persona", "name": "warm", "weights": {"length": 1}}
    judge = {"_target_": "other.Judge", "model": "m-1", "prompt": "pairwise"}
    overlap = {"_target_": "simulators.overlap.DemonstrationOverlap", "temperature": 0.1}
    pool = {"_target_": "simulators.pool.Pool", "annotators": [persona, judge, overlap]}
    wrapped = {"_target_": "simulators.order.RandomOrder", "annotator": pool}
    assert judges(wrapped) == {"name warm", "model m-1", "prompt pairwise", "DemonstrationOverlap"}


def test_one_shared_judge_is_enough() -> None:
    def persona(name: str) -> dict[str, object]:
        return {"_target_": "simulators.persona.Persona", "name": name, "weights": {}}

    config = {
        "annotators": {"clean": {"_target_": "P", "annotators": [persona("a"), persona("b")]}},
        "evaluators": {"judge": persona("b")},
        "data": {"gold": {}},
    }
    assert shared_judges(config) == {"name b"}
    (warning,) = run_warnings(config)
    assert "name b" in warning and "held_out_win_rate is left out" in warning
    config["evaluators"] = {"judge": persona("c")}
    assert not run_warnings(config)
