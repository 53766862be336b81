"""What a reader of a run's figures must be told about how they were made."""

from collections.abc import Iterator, Mapping
from typing import Any

_IDENTITY_KEYS = ("name", "model", "prompt")


def judges(node: object) -> frozenset[str]:
    """What identifies the judges inside an annotator's config node: persona, model, prompt, or
    the class where it has none of these."""
    return frozenset(_judges(node))


def _judges(node: object) -> Iterator[str]:
    if isinstance(node, Mapping):
        inner = [value for value in node.values() if isinstance(value, Mapping | list)]
        named = [f"{key} {node[key]}" for key in _IDENTITY_KEYS if isinstance(node.get(key), str)]
        if named:
            yield from named
        elif "_target_" in node and not inner:
            yield str(node["_target_"]).rpartition(".")[2]
        for value in inner:
            yield from _judges(value)
    elif isinstance(node, list):
        for value in node:
            yield from _judges(value)


def shared_judges(config: Mapping[str, Any]) -> frozenset[str]:
    """The judges that both label the training pairs and evaluate as held out."""
    held_out = config["evaluators"]["judge"]
    return judges(config["annotators"]["clean"]) & judges(held_out)


def run_warnings(config: Mapping[str, Any]) -> list[str]:
    """Sentences for the report and the terminal."""
    warnings = []
    if config["evaluators"]["judge"] is None:
        warnings.append(
            "The annotators that made the training labels also judge: no held-out evaluators "
            "(evaluators=none), so win rates may show what the judges like, not what is better."
        )
    if shared := shared_judges(config):
        warnings.append(
            f"The evaluators share {', '.join(sorted(shared))} with the training annotators, so "
            "held_out_win_rate is left out."
        )
    if config["data"]["gold"] is None:
        warnings.append("This data has no gold scorer (data.gold): no figure here is ground truth.")
    return warnings
