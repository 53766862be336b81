"""What every study works with: the configurations of its runs, the store, workers and a folder."""

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.builder import Builder, Finder, Planner
from farm.cluster import Cluster
from farm.console import Console
from farm.mirror import open_store
from farm.preflight import check_keys
from farm.settings import Settings
from farm.studies.runs import Runs

if TYPE_CHECKING:
    import pandas as pd


class Workshop:
    """Of one study, whose resolved configuration is `config`."""

    def __init__(self, config: Mapping[str, Any], runs: Runs) -> None:
        self.settings = Settings.from_plain(config)
        self.runs = runs
        self.console = Console()
        self._config = config
        self._store = open_store(Path(self.settings.runs_dir) / "store", self.settings.mirror)

    def planner(self) -> Planner:
        """Says what would be built."""
        return Planner(self._store, self.console)

    @contextmanager
    def planned(self, planner: Planner, what: str = "Planned stages") -> Iterator[None]:
        """Around what is asked of the planner: a heading, and at the end how much that is."""
        self.console.message(f"{what} (dry_run=true):")
        yield
        self.console.message(
            f"Nothing was run. {planner.missing} to build, {planner.reused} to reuse."
        )

    def finder(self) -> Finder:
        """Takes what is there."""
        return Finder(self._store)

    @contextmanager
    def builder(self) -> Iterator[Builder]:
        """Builds, with workers that end when this does."""
        check_keys(self._config)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        with closing(Cluster(self.settings.cluster, self.console.message)) as cluster:
            yield Builder(self._store, cluster, self.console)

    def folder(self) -> Path:
        """`runs/studies/NAME`, which is made where it is missing."""
        folder = Path(self.settings.runs_dir) / "studies" / self.settings.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def keep(self, tables: Mapping[str, "pd.DataFrame"]) -> None:
        """Write each as NAME.parquet into the folder."""
        for name, rows in tables.items():
            rows.to_parquet(self.folder() / f"{name}.parquet", index=False)
