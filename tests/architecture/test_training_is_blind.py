"""Training code reads neither gold nor the split `evaluation`; randomness has one source."""

import ast
import re
from collections.abc import Iterator

import pytest
from source_trees import Module, modules

TRAINING = ("methods.", "farm.training", "farm.stages.policy.", "farm.stages.reward.")
SAMPLERS = {"bernoulli", "multinomial", "normal", "rand", "randint", "randn", "randperm"}


def _training_modules() -> list[Module]:
    return [module for module in modules() if f"{module.name}.".startswith(TRAINING)]


def _docstrings(tree: ast.Module) -> set[int]:
    """Ids of the constants that are documentation: strings that stand alone."""
    return {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def _words(module: Module) -> Iterator[tuple[int, str]]:
    """Names, attributes, keywords, imported modules and strings, with their lines."""
    documentation = _docstrings(module.tree)
    for node in ast.walk(module.tree):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.alias(name=word):
                yield line, word
            case ast.arg(arg=word) | ast.ImportFrom(module=str(word)):
                yield line, word
            case ast.keyword(arg=str(word)):
                yield line, word
            case ast.Constant(value=str(word)) if id(node) not in documentation:
                yield line, word


@pytest.mark.parametrize("module", _training_modules(), ids=lambda module: module.name)
def test_training_reads_neither_gold_nor_evaluation(module: Module) -> None:
    for line, word in _words(module):
        peeks = re.search(r"(^|[^a-z])gold([^a-z]|$)", word.lower()) or word == "evaluation"
        assert not peeks, f"{module.path}:{line}: {word}"
        assert not word.startswith("farm.evaluation"), f"{module.path}:{line}: {word}"


def _undeclared_randomness(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if "random" in names or getattr(node, "module", None) in ("random", "secrets"):
                yield node.lineno, ast.unparse(node)
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if re.match(r"(np|numpy)\.random\.|(torch\.)?manual_seed$|torch\.seed$|hash$", called):
            yield node.lineno, called
        name = called.rpartition(".")[2]
        seeded = any(keyword.arg == "generator" for keyword in node.keywords)
        if called.startswith("torch.") and name in SAMPLERS and not seeded:
            yield node.lineno, called


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_randomness_comes_from_seeds_alone(module: Module) -> None:
    if module.name != "farm.seeds":
        found = list(_undeclared_randomness(module.tree))
        assert not found, f"{module.path}: {found}"
