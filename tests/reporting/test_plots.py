"""Figures of many lines: told apart, and a legend that fits."""

import pandas as pd
import pytest

from farm.reporting import plots


def test_lines_of_many_variants_look_different() -> None:
    assert len({plots.look(place) for place in range(32)}) == 32


@pytest.mark.parametrize("panels", [1, 3])
def test_a_legend_of_many_long_names_stays_on_the_figure(panels: int) -> None:
    names = [f"a variant with a rather long name, number {n}" for n in range(12)]
    frame = pd.DataFrame([{"name": n, "step": s, "loss": s} for n in names for s in (0, 1)])
    figure, axes_of = plots.panels(panels)
    for axes in axes_of:
        plots.draw_each(axes, frame, "name", "loss")
    plots.legend(figure, axes_of[0])
    figure.draw_without_rendering()
    (legend,) = figure.legends
    drawn, room = legend.get_window_extent(), figure.bbox
    assert room.x0 <= drawn.x0 and drawn.x1 <= room.x1


def test_bands_are_drawn_where_they_are_few() -> None:
    rows = [
        {"name": n, "step": s, "loss": s, "loss_low": s - 1, "loss_high": s + 1}
        for n in "abcde"
        for s in (0, 1)
    ]
    frame = pd.DataFrame(rows)
    _, (few, many) = plots.panels(2)
    plots.draw_each(few, frame[frame["name"] < "c"], "name", "loss")
    plots.draw_each(many, frame, "name", "loss")
    assert (len(few.collections), len(many.collections)) == (2, 0)
    assert len(many.lines) == 5
