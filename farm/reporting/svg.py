"""A matplotlib figure as SVG to put into a page: small, deterministic, in the page's colours."""

import io
import re
from html import escape

import matplotlib as mpl
from matplotlib.figure import Figure

from farm.reporting.plots import INK, SERIES_COLOURS, STYLE

_COLOURS = {
    INK: "currentColor",
    **{colour: f"var(--series-{i})" for i, colour in enumerate(SERIES_COLOURS, start=1)},
}
_EXTERNAL = (
    r"<\?xml.*?\?>",
    r"<!DOCTYPE.*?>",
    r"<metadata>.*?</metadata>",
    r"<style.*?</style>",
    r' xmlns(:\w+)?="[^"]*"',
    r' (?:width|height)="[\d.]+pt"',
)
"""What names other places or is the page's to choose: rules for all its elements, the size."""


def svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an `<svg>` element; `name` keeps its ids apart from other figures', and
    `description` is its text for those who do not see it."""
    buffer = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    for pattern in _EXTERNAL:
        text = re.sub(pattern, "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text).replace("xlink:href", "href")
    text = re.sub(r"font-family: [^;\"]*", "font-family: inherit", text)
    for colour, variable in _COLOURS.items():
        text = text.replace(colour, variable)
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1).strip()
