"""Chains in a configuration: a list of links becomes their nodes.

`method.links=[sft,{method: orpo,beta: 0.2}]` stands for {sft: <method=sft>, orpo: <method=orpo with
beta 0.2>}: a link is a choice of the chain's own group, as the run would have it alone, with keys
that are set on top and, where its choice is there twice, a `name`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from farm.errors import ConfigError
from farm.targets import TARGET, is_node, suggest

LINKS = "links"
"""The key of a chain."""
_CHOICE, _NAME = "method", "name"


def linked(
    entries: Sequence[Any],
    path: str,
    choices: Sequence[str],
    choose: Callable[[str], Mapping[str, Any]],
) -> dict[str, Any]:
    """The links' nodes by name. `choices` are those of the chain's group, `choose` gives the node
    of one. Raises ConfigError, naming neighbours, for an entry that is no link."""
    links: dict[str, Any] = {}
    for number, entry in enumerate(entries):
        name, node = _link(entry, f"{path}[{number}]", choices, choose)
        if name in links:
            raise ConfigError(
                f"{path}[{number}]: there is a link {name} before. Give one of them a name, as in "
                f"{{{_CHOICE}: {name}, {_NAME}: again}}."
            )
        links[name] = node
    return links


def _link(
    entry: Any, path: str, choices: Sequence[str], choose: Callable[[str], Mapping[str, Any]]
) -> tuple[str, dict[str, Any]]:
    keys = dict(entry) if isinstance(entry, Mapping) else {_CHOICE: entry}
    choice = keys.pop(_CHOICE, None)
    name = keys.pop(_NAME, choice)
    if choice is None and is_node(keys) and name is not None:
        return str(name), keys
    if choice not in choices:
        raise ConfigError(
            f"{path}: there is no learner {choice}. {suggest(choice, choices)}"
            if choice is not None
            else f"{path}: a link is the name of a choice, {{{_CHOICE}: CHOICE, KEY: VALUE}}, or "
            f"{{{_NAME}: NAME, {TARGET}: CLASS, KEY: VALUE}}."
        )
    return str(name), _with_keys(choose(str(choice)), keys)


def _with_keys(node: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    """The node with some of its keys, or of nodes inside it, set; a node that names its class
    takes the other's place."""
    merged = dict(node)
    for key, value in keys.items():
        inside = merged.get(key)
        deep = isinstance(value, Mapping) and isinstance(inside, Mapping) and not is_node(value)
        merged[key] = _with_keys(inside, value) if deep and inside is not None else value
    return merged
