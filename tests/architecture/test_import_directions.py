"""Imports point down: simulators -> farm, methods -> farm, farm -> neither, and no circles."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest
from source_trees import PACKAGES, Module, at_module_level, imported, modules, targets

ALLOWED = {
    "farm": {"farm"},
    "simulators": {"farm", "simulators"},
    "methods": {"farm", "methods"},
    "hydra_plugins": {"farm", "hydra_plugins"},
}
HEAVY = {
    "accelerate",
    "datasets",
    "matplotlib",
    "pandas",
    "peft",
    "pyarrow",
    "ray",
    "scipy",
    "sklearn",
    "torch",
    "transformers",
    "trl",
}


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_imports_point_down(module: Module) -> None:
    allowed = ALLOWED[module.name.split(".")[0]]
    for node in ast.walk(module.tree):
        for name in imported(node, module):
            top = name.split(".")[0]
            assert top in allowed or top not in (*PACKAGES, "tests"), f"{module.path}: {name}"


def test_no_import_circles() -> None:
    names = {module.name for module in modules()}
    graph = {
        module.name: {
            name
            for statement in at_module_level(module.tree)
            for name in imported(statement, module)
            if name in names and name != module.name
        }
        for module in modules()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other: {' -> '.join(error.args[1])}")


def test_modules_that_configs_name_import_nothing_heavy() -> None:
    names = sorted({target.rpartition(".")[0] for target in targets()})
    program = (
        "import importlib, sys\n"
        f"for name in {['farm.run', *names]!r}:\n"
        "    importlib.import_module(name)\n"
        f"    loaded = set({sorted(HEAVY)!r}) & sys.modules.keys()\n"
        "    assert not loaded, f'{name} imports {sorted(loaded)}'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
