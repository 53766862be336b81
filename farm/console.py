"""What a run says while it works: one line per stage, with a progress bar where there is a
terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from farm.worker import Progress as StageProgress

_SHOWN_METRICS = ("loss", "reward", "kl_to_start", "accuracy", "cost_usd")


class Console:
    """The terminal. Honours NO_COLOR and draws no bars where output is not a terminal."""

    def __init__(self) -> None:
        self.rich = RichConsole(highlight=False)

    def message(self, text: str) -> None:
        """A line for people; its text is never taken for markup."""
        self.rich.print(escape(text))

    def finished(self, label: str, key: str, wall_s: float, *, reused: bool) -> None:
        """One stage is there."""
        how = "reused" if reused else f"{wall_s:.1f} s"
        self.rich.print(f"  {escape(label):<44} {how:>8}  [dim]{key}[/dim]")

    def planned(self, label: str, key: str, *, reused: bool) -> None:
        """One stage of a dry run."""
        how = "reuse" if reused else "build"
        self.rich.print(f"  {escape(label):<44} {how:>8}  [dim]{key}[/dim]")

    @contextmanager
    def stage(self, label: str) -> Iterator[Callable[[StageProgress], None]]:
        """A progress bar with rate and time to go, fed with the worker's progress."""
        bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[metrics]}", style="dim"),
            console=self.rich,
            transient=True,
            disable=not self.rich.is_terminal,
        )
        with bar:
            task = bar.add_task(escape(label), total=None, rate="", metrics="")

            def update(progress: StageProgress) -> None:
                metrics = progress.metrics
                shown = [f"{k} {metrics[k]:.3g}" for k in _SHOWN_METRICS if k in metrics]
                speed = bar.tasks[0].speed
                bar.update(
                    task,
                    completed=progress.step,
                    total=progress.total or None,
                    rate=f"{speed:.1f}/s" if speed else "",
                    metrics=" ".join(shown),
                )

            yield update
