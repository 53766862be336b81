"""The packages' sources as syntax trees, for the architecture tests."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
PACKAGES = ("farm", "simulators", "methods", "hydra_plugins")
YAMLS = sorted((ROOT / "conf").rglob("*.yaml"))


class Module(NamedTuple):
    name: str
    path: Path
    tree: ast.Module


@cache
def modules() -> tuple[Module, ...]:
    """All modules of the packages."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return tuple(Module(_name(path), path, ast.parse(path.read_text())) for path in paths)


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(node: ast.AST, importer: Module) -> Iterator[str]:
    """The dotted names that an import statement may load."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{importer.path}:{node.lineno}: relative import"
        yield str(node.module)
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_module_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run on import: none inside functions or `if TYPE_CHECKING`."""
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        statement = pending.pop()
        yield statement
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            pending += statement.orelse
            continue
        children = ast.iter_child_nodes(statement)
        pending += [child for child in children if isinstance(child, ast.stmt)]


def targets() -> dict[str, list[Path]]:
    """Every `_target_` of every yaml, with the files that name it."""
    found: dict[str, list[Path]] = {}
    for path in YAMLS:
        for target in _targets(yaml.safe_load(path.read_text())):
            found.setdefault(target, []).append(path)
    return found


def _targets(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if "_target_" in value:
            yield value["_target_"]
        for entry in value.values():
            yield from _targets(entry)
    if isinstance(value, list):
        for entry in value:
            yield from _targets(entry)
