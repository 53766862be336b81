"""What a run asks of a cluster: who finds room, what is missing, and the plan in words."""

from dataclasses import replace

import pytest
from test_cluster import SETTINGS

from farm.errors import ConfigError
from farm.placement import learner_bundles, plan, pool_bundles, shortage, unplaced

GPU, CPU = {"CPU": 1.0, "GPU": 1.0}, {"CPU": 1.0}
MACHINE = {"CPU": 4.0, "GPU": 2.0, "memory": 1e9}


def test_a_single_learner_without_gpu_claims_nothing() -> None:
    assert learner_bundles(SETTINGS) == pool_bundles(SETTINGS) == []
    assert shortage(SETTINGS, []) is None


def test_learners_and_pools_claim_cores_and_shares_of_gpus() -> None:
    settings = replace(SETTINGS, learners=2, gpus_per_learner=1, samplers=2, gpus_per_sampler=0.5)
    assert learner_bundles(settings) == [GPU, GPU]
    assert pool_bundles(settings) == [{"CPU": 1.0, "GPU": 0.5}] * 2
    assert shortage(settings, [MACHINE, MACHINE]) is None


@pytest.mark.parametrize(
    ("bundles", "machines", "left"),
    [
        ([GPU, GPU], [MACHINE], []),
        ([GPU, GPU, GPU], [MACHINE], [GPU]),
        ([CPU, CPU, GPU, GPU], [{"CPU": 2.0, "GPU": 2.0}, {"CPU": 2.0}], []),  # large ones first
        ([{"CPU": 3.0}, {"CPU": 3.0}], [{"CPU": 4.0}, {"CPU": 2.0}], [{"CPU": 3.0}]),  # no halves
        ([GPU], [], [GPU]),
    ],
)
def test_bundles_need_a_machine_each(
    bundles: list[dict[str, float]],
    machines: list[dict[str, float]],
    left: list[dict[str, float]],
) -> None:
    assert unplaced(bundles, machines) == left


def test_shortage_says_what_is_missing_and_which_keys_ask_for_it() -> None:
    settings = replace(SETTINGS, learners=3, gpus_per_learner=1, scorers=1)
    text = shortage(settings, [MACHINE])
    assert text is not None
    for part in (
        "1 of 4 actors", "3 GPU of which the cluster has 2", "cluster.learners=3",
        "cluster.scorers=1",
    ):  # fmt: skip
        assert part in text


def test_plan_has_a_line_for_each_role() -> None:
    settings = replace(SETTINGS, learners=2, gpus_per_learner=1, samplers=1, gpus_per_sampler=0.5)
    first, second = plan(settings)
    assert first.startswith("2 learners")
    assert first.endswith("each with 1 GPU")
    assert second.startswith("1 sampler ")
    assert second.endswith("each with 0.5 of a GPU")
    (only,) = plan(SETTINGS)
    assert only.endswith("on CPU")


@pytest.mark.parametrize(
    ("key", "value"), [("learners", 0), ("samplers", -1), ("gpus_per_scorer", -0.5)]
)
def test_numbers_out_of_range_name_their_key(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"cluster.{key}"):
        replace(SETTINGS, **{key: value})
