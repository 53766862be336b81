"""Chains of learners as configuration nodes: their links, what these need, and the policies that
they name."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from farm.config import build
from farm.errors import ConfigError
from farm.protocols import Chained, Learner
from farm.targets import suggest
from farm.types import Need

Node = Mapping[str, Any]

START = "start"
"""Names the policy that the whole begins from."""
PREVIOUS = "previous"
"""Names the policy that a learner goes on from."""


def needs_of(learner: Node) -> frozenset[Need]:
    """What the learner of a node needs."""
    built: Learner = build(learner)
    return built.needs


def is_chain(learner: Node) -> bool:
    """Whether the learner of a node is several."""
    return isinstance(build(learner), Chained)


def links_of(learner: Node) -> dict[str, Node]:
    """The nodes of a chain by name; any other learner is a chain of itself. Raises ConfigError
    where a link names a policy that there is not."""
    if is_chain(learner):
        links = dict(learner["links"])
        paths = {name: f"links.{name}.policies" for name in links}
    else:
        links = {class_label(learner): learner}
        paths = dict.fromkeys(links, "policies")
    known = [START, PREVIOUS]
    for name, link in links.items():
        _check_policies(link.get("policies", ()), known, paths[name])
        known.append(name)
    return links


def _check_policies(names: Iterable[str], known: list[str], path: str) -> None:
    for name in names:
        if name not in known and "/" not in name and not Path(name).is_dir():
            raise ConfigError(
                f"{path}: there is no policy {name}. {suggest(name, known)} A directory or a hub "
                "name (OWNER/NAME) will do as well."
            )


def class_label(node: Node) -> str:
    """The name of a node's class in small letters."""
    return str(node["_target_"]).rpartition(".")[2].lower()
