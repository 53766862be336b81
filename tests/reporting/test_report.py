import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from fake_runs import HOSTILE, write_run

from farm.reporting.report import write_report


class Page(HTMLParser):
    """What a browser would make of the page: elements, text and unclosed tags."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def page(run_dir: Path) -> Page:
    return Page(write_report(run_dir).read_text(encoding="utf-8"))


def test_page_is_well_formed(page: Page) -> None:
    assert page.open == []
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_model_output_is_shown_and_never_run(page: Page) -> None:
    assert page.text.count(HOSTILE) == 21, "twenty instructions and one answer"
    assert not page.all("script")
    assert not [a for _, a in page.elements for name in a if name.startswith("on")]


def test_page_needs_no_network_and_no_other_file(page: Page, run_dir: Path) -> None:
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "data", "action"):
            assert (attributes.get(name) or "#").startswith("#")
    text = (run_dir / "report.html").read_text()
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}


def test_every_reference_inside_a_figure_has_its_target(page: Page) -> None:
    ids = {a["id"] for _, a in page.elements if "id" in a}
    used = {(a["href"] or "").removeprefix("#") for a in page.all("use")}
    assert used
    assert used <= ids


def test_figures_say_in_words_what_they_show(page: Page) -> None:
    figures = page.all("svg")
    assert len(figures) == 3
    assert all(figure["role"] == "img" for figure in figures)
    words = " ".join(figure["aria-label"] or "" for figure in figures)
    for column in ("pool preference", "held out win rate", "gold utility", "kl to start"):
        assert re.search(rf"{column} from -?[\d.]+ at step 0 to -?[\d.]+ at step 60", words)


def test_tables_are_tables(page: Page) -> None:
    assert len(page.all("table")) == len(page.all("caption")) == 3
    assert all(cell.get("scope") in ("col", "row") for cell in page.all("th"))
    for name in ("One annotator", "Held-out", "Gold utility", "Length-controlled", "No verdict"):
        assert name in page.text


def test_figures_of_the_final_table_are_those_of_the_file(page: Page, run_dir: Path) -> None:
    final = pd.read_parquet(run_dir / "final.parquet").set_index("role")
    for role in ("reference", "start", "selected", "last", "control", "excluded"):
        row = final.loc[role]
        assert row["name"] in page.text
        assert f"{row['held_out_win_rate']:.1f}" in page.text
        assert f"{row['gold_win_rate_low']:.1f}\u2013{row['gold_win_rate_high']:.1f}" in page.text


def test_warnings_bill_settings_and_scope_are_told(page: Page) -> None:
    text = " ".join(page.text.split())
    for told in (
        "The annotators also judge",
        "22,000 labels",
        "reused",
        "1 min 45 s",
        "turns over",
        "validation accuracy 0.734, validation pairs 2,000",
        "data.gold.correctness",
        "2.13.0",
        "conditional on this one trained policy, this decoding and this judge",
    ):
        assert told in text


def test_what_does_not_apply_is_a_dash_not_a_zero(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", has_gold=False)
    text = " ".join(Page(write_report(path).read_text()).text.split())
    assert "\u2013 by gold not applicable" in text
    assert re.search("gold \u2013, \\d+ characters", text)
    assert "turn over" not in text
    assert "nan" not in text.lower().split()


def test_same_run_gives_the_same_page(page: Page, run_dir: Path) -> None:
    first = (run_dir / "report.html").read_bytes()
    assert write_report(run_dir).read_bytes() == first


def chromium(*arguments: str, profile: Path) -> str:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no chromium here")
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={profile}",
    ]  # fmt: skip
    done = subprocess.run(
        [browser, *flags, *arguments], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


WIDTHS = """<!DOCTYPE html><iframe src="report.html" style="width:{width}px;height:800px"></iframe>
<script>onload = () => {{
  const page = document.querySelector("iframe").contentDocument.documentElement;
  document.title = page.scrollWidth + " of " + page.clientWidth;
}}</script>"""


@pytest.mark.parametrize("width", [320, 1200])
def test_a_browser_lays_the_page_out_without_sideways_scrolling(
    page: Page, run_dir: Path, tmp_path: Path, width: int
) -> None:
    frame = run_dir / f"frame-{width}.html"
    frame.write_text(WIDTHS.format(width=width))
    shown = chromium(
        "--allow-file-access-from-files", "--dump-dom", frame.as_uri(), profile=tmp_path
    )
    found = re.search(r"<title>(\d+) of (\d+)</title>", shown)
    assert found
    needed, given = map(int, found.groups())
    assert needed <= given
    assert given > width - 30
