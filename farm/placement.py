"""What a run asks of a cluster, and whether the cluster can ever give it."""

from collections.abc import Mapping, Sequence

from farm.settings import ClusterSettings

Resources = Mapping[str, float]
"""Ray's resources by name: CPU, GPU, ..."""


def learner_bundles(settings: ClusterSettings) -> list[Resources]:
    """What each learner claims. A single one without a GPU claims nothing: it takes turns with the
    other roles, and Ray would give an actor with one CPU a single thread."""
    if settings.learners == 1 and not settings.gpus_per_learner:
        return []
    return [_claim(settings.gpus_per_learner)] * settings.learners


def pool_bundles(settings: ClusterSettings) -> list[Resources]:
    """What the samplers and scorers claim."""
    samplers = [_claim(settings.gpus_per_sampler)] * settings.samplers
    return samplers + [_claim(settings.gpus_per_scorer)] * settings.scorers


def _claim(gpus: float) -> Resources:
    return {"CPU": 1.0, **({"GPU": gpus} if gpus else {})}


def unplaced(bundles: Sequence[Resources], machines: Sequence[Resources]) -> list[Resources]:
    """The bundles that find no room when the largest are placed first, each where it fits; of no
    machine more than it has in all, busy or not."""
    free = [dict(machine) for machine in machines]
    left = []
    for bundle in sorted(bundles, key=lambda b: (b.get("GPU", 0.0), b.get("CPU", 0.0)))[::-1]:
        for room in free:
            if all(room.get(name, 0.0) >= amount for name, amount in bundle.items()):
                for name, amount in bundle.items():
                    room[name] -= amount
                break
        else:
            left.append(bundle)
    return left


def shortage(settings: ClusterSettings, machines: Sequence[Resources]) -> str | None:
    """In words, what the cluster lacks for these settings; None where everything fits."""
    wanted = [*learner_bundles(settings), *pool_bundles(settings)]
    left = unplaced(wanted, machines)
    if not left:
        return None
    asked, there = _total(wanted), _total(machines)
    lacking = ", ".join(
        f"{amount:g} {name} of which the cluster has {there.get(name, 0.0):g}"
        for name, amount in asked.items()
    )
    return (
        f"{len(left)} of {len(wanted)} actors would never find room: they ask for {lacking}, on "
        f"{len(machines)} machines (cluster.learners={settings.learners}, "
        f"cluster.samplers={settings.samplers}, cluster.scorers={settings.scorers}, and their "
        "gpus_per_... keys). Ask for less, or add machines"
    )


def plan(settings: ClusterSettings) -> list[str]:
    """A line for each role, before anything is started."""
    roles = [
        (
            "learner",
            settings.learners,
            settings.gpus_per_learner,
            "for training and all other work",
        ),
        ("sampler", settings.samplers, settings.gpus_per_sampler, "for drawing answers"),
        (
            "scorer",
            settings.scorers,
            settings.gpus_per_scorer,
            "for scoring answers and judging pairs",
        ),
    ]
    return [
        f"{count} {name}{'s' if count > 1 else ''} {what}, "
        + (f"each with {gpus:g} of a GPU" if 0 < gpus < 1 else
           f"each with {gpus:g} GPU" if gpus else "on CPU")
        for name, count, gpus, what in roles
        if count
    ]  # fmt: skip


def _total(bundles: Sequence[Resources]) -> dict[str, float]:
    names = {name: None for bundle in bundles for name in bundle}
    return {
        name: sum(bundle.get(name, 0.0) for bundle in bundles)
        for name in names
        if name in ("CPU", "GPU")
    }
