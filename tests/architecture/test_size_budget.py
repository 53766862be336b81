"""Files and functions stay small enough to be read at once."""

import ast

import pytest
from source_trees import Module, modules

FILE_LINES = 450
FUNCTION_LINES = 80


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_files_and_functions_are_short(module: Module) -> None:
    assert len(module.path.read_text().splitlines()) <= FILE_LINES
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef) and node.name != "__init__":  # those hold the keys
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES, f"{module.path}:{node.lineno}: {length} lines"
