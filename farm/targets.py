"""Config nodes and the classes they name: find the class, check the node against its constructor.

A node is a plain mapping with `_target_`. Its other keys are the constructor's keywords, so the
constructor's signature and type hints are the schema; `expects` alone is no keyword, but says what
tests hold the class to. The classes' modules import nothing heavy
at module level, which keeps these checks quick.
"""

import difflib
import importlib
import inspect
import pkgutil
import sys
import types
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union

from farm.errors import ConfigError

TARGET = "_target_"
PARTIAL = "_partial_"
EXPECTS = "expects"
MISSING = "???"
_SEQUENCES = (Sequence, list, tuple, Collection, Iterable, frozenset, set)


def is_node(value: object) -> bool:
    """Whether a config value names a class."""
    return isinstance(value, Mapping) and TARGET in value


def keywords(node: Mapping[str, Any]) -> dict[str, Any]:
    """The constructor's keywords in a node."""
    return {key: value for key, value in node.items() if key not in (TARGET, PARTIAL, EXPECTS)}


def nodes(value: object, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All nodes in a config value that name a class, outer before inner, with dotted paths."""
    if isinstance(value, list):
        for index, entry in enumerate(value):
            yield from nodes(entry, f"{path}[{index}]")
    if isinstance(value, Mapping):
        if is_node(value):
            yield path, value
        for key, entry in value.items():
            yield from nodes(entry, join(path, key))


def suggest(word: object, candidates: Iterable[object]) -> str:
    """A sentence naming the candidates nearest to a mistyped word, or all when none is near."""
    names = sorted({str(candidate) for candidate in candidates})
    near = nearest(word, names)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"Choose from: {', '.join(names)}." if names else "There is nothing to choose from."


def nearest(word: object, candidates: Iterable[str]) -> list[str]:
    """At most three candidates that a mistyped word may have meant, best first."""
    return difflib.get_close_matches(str(word), list(candidates), n=3, cutoff=0.6)


def join(path: str, key: object) -> str:
    """The dotted path of a key below `path`."""
    return f"{path}.{key}" if path else str(key)


# ------------------------------------------------------------------------------------ classes


def target_class(target: str) -> type[Any]:
    """The class that a `_target_` names; raises `ConfigError` with the nearest names."""
    module_name, _, class_name = str(target).rpartition(".")
    if not module_name:
        raise ConfigError(f"'{target}' is no dotted path of a class, such as methods.ppo.PPO.")
    if module_name.split(".")[0] in sys.stdlib_module_names:
        raise ConfigError(f"'{target}' is Python's own; name a class of farm or of your package.")
    found = getattr(_module(module_name, target), class_name, None)
    if not inspect.isclass(found):
        problem = "is not a class" if found is not None else "does not exist"
        names = _classes(sys.modules[module_name])
        raise ConfigError(f"'{target}' {problem}. {suggest(class_name, names)}")
    return found


def _module(name: str, target: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(f"'{target}' needs the package '{error.name}': install it.") from None
        parent, _, child = error.name.rpartition(".")
        siblings = _modules(parent)
        hint = suggest(child, siblings) if siblings else "Is its folder on the Python path?"
        raise ConfigError(f"'{target}': there is no module '{error.name}'. {hint}") from None


def _modules(package: str) -> list[str]:
    search = importlib.import_module(package).__path__ if package else [str(Path.cwd())]
    return [module.name for module in pkgutil.iter_modules(search)]


def _classes(module: types.ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and name[0] != "_"
    ]


# ------------------------------------------------------------------------------------- checks


def check_node(node: Mapping[str, Any], path: str) -> None:
    """Check a node and all nodes inside it against their classes' constructors."""
    try:
        cls = target_class(node[TARGET])
    except ConfigError as error:
        raise ConfigError(f"{path}.{TARGET}: {error}") from None
    check_call(cls, keywords(node), path, partial=node.get(PARTIAL) is True)


def check_call(cls: type[Any], values: Mapping[str, Any], path: str, *, partial: bool) -> None:
    """Check that `cls(**values)` has known keys, all it needs, and values of the right types."""
    parameters = _parameters(cls)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(cls).parameters.values())
    for key in values:
        if key not in parameters and not open_ended:
            raise ConfigError(
                f"{join(path, key)}: {cls.__name__} has no such key. {suggest(key, parameters)}"
            )
    for key, parameter in parameters.items():
        hint = parameter.annotation
        if key in values:
            check_value(values[key], hint, join(path, key))
        elif parameter.default is parameter.empty and not partial:
            raise ConfigError(
                f"{join(path, key)} is not set: {cls.__name__} needs {describe(hint)}."
            )


def _parameters(cls: type[Any]) -> dict[str, inspect.Parameter]:
    """A constructor's keywords with their type hints resolved."""
    try:
        hints = typing.get_type_hints(cls.__init__)
    except NameError:  # hints that exist for type checkers only: then the names alone are checked
        hints = {}
    return {
        name: parameter.replace(annotation=hints.get(name, Any))
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


def check_value(value: object, hint: Any, path: str) -> None:
    """Check one value against a type hint; nested nodes are checked too."""
    if value == MISSING:
        raise ConfigError(f"{path} must be given: {path}=VALUE, where VALUE is {describe(hint)}.")
    if is_node(value):
        check_node(typing.cast(Mapping[str, Any], value), path)
        _check_role(typing.cast(Mapping[str, Any], value), hint, path)
    elif not _matches(value, hint, path):
        raise ConfigError(f"{path}: {_show(value)} is not {describe(hint)}.{_near(value, hint)}")


def _near(value: object, hint: Any) -> str:
    near = nearest(value, [str(c) for option in _options(hint) for c in _choices(option)])
    return f" Did you mean {' or '.join(near)}?" if near else ""


def _options(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a union; of any other hint, itself."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def _choices(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) is Literal else ()


def _matches(value: object, hint: Any, path: str) -> bool:
    options = _options(hint)
    if len(options) > 1:
        return any(_matches(value, option, path) for option in options)
    if hint is Any or isinstance(hint, typing.TypeVar) or hint is object:
        return _check_inside(value, path)
    origin = typing.get_origin(hint) or hint
    if origin is Literal:
        return any(value == c and type(value) is type(c) for c in _choices(hint))
    if isinstance(value, Mapping):
        return _matches_mapping(value, hint, origin, path)
    if isinstance(value, list):
        return _matches_sequence(value, hint, origin, path)
    return _matches_scalar(value, origin)


def _matches_scalar(value: object, kind: Any) -> bool:
    if value is None or isinstance(value, bool):
        return kind in ((type(None), None) if value is None else (bool,))
    if kind is float:
        return isinstance(value, int | float)
    if kind is Path:
        return isinstance(value, str)
    return kind in (int, str) and isinstance(value, kind)


def _matches_mapping(value: Mapping[str, Any], hint: Any, origin: Any, path: str) -> bool:
    if hasattr(origin, "__dataclass_fields__"):
        check_call(origin, value, path, partial=False)
        return True
    if not _is_kind(origin, Mapping, dict):
        return False
    item = (*typing.get_args(hint), Any, Any)[1]
    for key, entry in value.items():
        check_value(entry, item, join(path, key))
    return True


def _matches_sequence(value: list[Any], hint: Any, origin: Any, path: str) -> bool:
    if not _is_kind(origin, *_SEQUENCES):
        return False
    args = typing.get_args(hint) or (Any,)
    fixed = origin is tuple and args[-1] is not Ellipsis
    if fixed and len(args) != len(value):
        return False
    for index, entry in enumerate(value):
        check_value(entry, args[index] if fixed else args[0], f"{path}[{index}]")
    return True


def _is_kind(origin: Any, *kinds: Any) -> bool:
    return any(origin is kind for kind in kinds)


def with_floats(value: Any, hint: Any) -> Any:
    """A checked value whose whole numbers are floats wherever the hint asks for a number: `1` and
    `1.0` mean the same there, and so must be one key."""
    if isinstance(value, Mapping):
        hints = _entry_hints(value, hint)
        return {key: with_floats(entry, hints.get(key, Any)) for key, entry in value.items()}
    if isinstance(value, list):
        items = _item_hints(len(value), hint)
        return [with_floats(entry, item) for entry, item in zip(value, items, strict=True)]
    asks_for_float = float in _options(hint) and int not in _options(hint)
    return float(value) if type(value) is int and asks_for_float else value


def _entry_hints(value: Mapping[str, Any], hint: Any) -> dict[str, Any]:
    """The hint of each key of a node, a dataclass's fields or a mapping."""
    if is_node(value):
        hint = target_class(value[TARGET])
    for option in _options(hint):
        origin = typing.get_origin(option) or option
        if is_node(value) or hasattr(origin, "__dataclass_fields__"):
            return {name: p.annotation for name, p in _parameters(origin).items()}
        if _is_kind(origin, Mapping, dict):
            return dict.fromkeys(value, (*typing.get_args(option), Any, Any)[1])
    return {}


def _item_hints(count: int, hint: Any) -> list[Any]:
    """The hint of each entry of a list."""
    for option in _options(hint):
        args = typing.get_args(option)
        if args and _is_kind(typing.get_origin(option), *_SEQUENCES):
            fixed = typing.get_origin(option) is tuple and args[-1] is not Ellipsis
            return list(args) if fixed else [args[0]] * count
    return [Any] * count


def _check_inside(value: object, path: str) -> bool:
    """Where any value will do, nodes inside it are still checked."""
    entries: Iterable[tuple[object, object]] = ()
    if isinstance(value, Mapping):
        entries = value.items()
    elif isinstance(value, list):
        entries = enumerate(value)
    for key, entry in entries:
        check_value(entry, Any, join(path, key))
    return True


def _check_role(node: Mapping[str, Any], hint: Any, path: str) -> None:
    """Check that a node's class is what the hint asks for."""
    cls = target_class(node[TARGET])
    if not any(_fits(cls, option) for option in _options(hint)):
        raise ConfigError(f"{path}.{TARGET}: {node[TARGET]} is not {describe(hint)}.")


def _fits(cls: type[Any], hint: Any) -> bool:
    if hint is Any or isinstance(hint, typing.TypeVar):
        return True
    origin = typing.get_origin(hint) or hint
    if getattr(origin, "_is_protocol", False):
        return all(hasattr(cls, name) for name in _members(origin))
    return inspect.isclass(origin) and issubclass(cls, origin)


def _members(protocol: Any) -> list[str]:
    """The methods that a protocol asks for; its attributes may be set in constructors."""
    return sorted(n for n, value in vars(protocol).items() if n[0] != "_" and callable(value))


def _show(value: object) -> str:
    return "null" if value is None else repr(value)


_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    Path: "a path",
    type(None): "null",
    None: "null",
    Any: "a value",
}


def describe(hint: Any) -> str:
    """A type hint in words, for errors."""
    options = _options(hint)
    if len(options) > 1:
        return " or ".join(describe(option) for option in options)
    if _choices(hint):
        return f"one of {', '.join(map(str, _choices(hint)))}"
    origin, args = typing.get_origin(hint) or hint, typing.get_args(hint)
    if _is_kind(origin, *_SEQUENCES):
        return f"a list, each entry {describe(args[0])}" if args else "a list"
    if _is_kind(origin, Mapping, dict):
        return "a mapping"
    return _WORDS.get(origin) or f"a node with _target_ ({_role(origin)})"


def _role(kind: Any) -> str:
    name = getattr(kind, "__name__", str(kind))
    protocol = getattr(kind, "_is_protocol", False)
    return f"{name}, which has {', '.join(_members(kind))}" if protocol else name
