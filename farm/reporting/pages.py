"""Pages of HTML that need no other file and no network."""

from pathlib import Path
from typing import Any

import jinja2

from farm.reporting import formats


def render_page(template: str, **values: Any) -> str:
    """The page of a template beside this file, in the pages' common style (`css`). Whatever a
    value says is text: the template escapes it."""
    here = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"number": formats.number, "duration": formats.duration}
    css = (here / "report.css.jinja").read_text(encoding="utf-8")
    return environment.get_template(template).render(css=css, **values)
