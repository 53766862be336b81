"""The first policy's artefact shows a training example."""

from pathlib import Path

import toy_policy as toy

from farm.artifacts import Store
from farm.config import compose, plain
from farm.data.records import user_instruction, write_instructions
from farm.stages import model
from farm.stages.instructions import TRAINING_SPLITS
from farm.stages.job import Job


def test_the_first_demonstration_is_shown_as_the_template_makes_it(tmp_path: Path) -> None:
    rows = [user_instruction("count the ducks", "three ducks"), *toy.instructions(3)]
    for split in TRAINING_SPLITS:
        write_instructions(rows, tmp_path / f"{split}.parquet")
    with Store(tmp_path / "store").building("model", "key", lambda: None) as build:
        job = Job(
            "farm.stages.model:run", "model", "key", build.work, build.token, Store(tmp_path),
            {"model": plain(compose([]))["model"]}, {"instructions": tmp_path}, seed=0,
        )  # fmt: skip
        model.run(job)
        read, learned = (build.work / "example.txt").read_text().split("learned")
    assert "count the ducks" in read
    assert "three ducks" in learned
