"""Notebooks run from top to bottom on finished runs, hold no logic and no outputs."""

import ast
from pathlib import Path

import fake_self_training
import fake_stability
import fake_tunings
import nbformat
import pytest
from fake_merging import write_merging
from fake_runs import write_run
from fake_speculation import measured, study
from nbclient import NotebookClient

from farm.reporting.study_sections import write_tables
from farm.studies.self_training_tables import self_training_tables
from farm.studies.speculation_tables import speculation_tables
from farm.studies.stability_tables import stability_tables
from farm.studies.tuning_tables import tuning_tables

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def runs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for method, seed in (("ppo", 1), ("ppo", 2), ("dpo", 1)):
        write_run(folder / f"{method}-{seed}", method=method, seed=seed)
    write_run(folder / "ppo-1-weak", method="ppo", seed=1, kl=0.02)
    write_run(folder / "ppo-0-real-text", method="ppo", seed=0, name="ppo", has_gold=False)
    write_merging(folder / "studies" / "merging")
    studies = {
        "isheep": self_training_tables(fake_self_training.measured(), fake_self_training.BASELINE),
        "stability_gap": stability_tables(fake_stability.measured(), fake_stability.BASELINE),
        "tunings": tuning_tables(fake_tunings.measured(), fake_tunings.BASELINE),
    }
    for name, tables in studies.items():
        (folder / "studies" / name).mkdir(parents=True)
        write_tables(folder / "studies" / name, tables)
    speculative = folder / "studies" / "speculative"
    speculative.mkdir(parents=True)
    for name, table in speculation_tables(measured(), study()).items():
        table.to_parquet(speculative / f"{name}.parquet", index=False)
    return folder


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_runs(
    path: Path, runs_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_RUNS", str(runs_folder))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_is_committed_clean(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs")
        if cell.cell_type == "code":
            code = cell.source.replace("%matplotlib inline", "")
            for node in ast.walk(ast.parse(code)):
                assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)
