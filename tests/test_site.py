"""The pages of docs/ become a site without warnings, which is read without a network, also on a telephone."""

import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CHROMIUM = shutil.which("chromium")
TELEPHONE = {"width": 400, "height": 800}
SCREEN = {"width": 1400, "height": 900}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-n", str(DOCS), str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("Debian's chromium is not installed")
    with playwright.sync_playwright() as program:
        opened = program.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def test_the_page_of_keys_is_what_the_schema_says():
    written = runpy.run_path(str(DOCS / "write_keys.py"))["page"]()
    assert (DOCS / "keys.md").read_text(encoding="utf8") == written, "python docs/write_keys.py"


@pytest.mark.slow
def test_every_page_is_in_the_site(site):
    pages = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    assert pages <= {path.relative_to(site) for path in site.rglob("*.html")}


@pytest.mark.slow
def test_the_names_of_the_python_page_come_with_their_docstrings(site):
    text = re.sub(r"<[^>]+>", "", (site / "python.html").read_text(encoding="utf8"))
    assert "Train one cell: seeds replicas of a network" in text
    assert "grads &lt;- Σ_i g_i (sum)" in text


@pytest.mark.slow
def test_no_page_asks_the_network_or_is_wider_than_the_screen(site, browser):
    asked, wide, formulas = set[str](), list[str](), 0
    for viewport in (TELEPHONE, SCREEN):
        tab = browser.new_page(viewport=viewport)
        tab.context.set_offline(True)
        tab.on("request", lambda request: asked.add(request.url))
        for page in sorted(site.rglob("*.html")):
            tab.goto(page.as_uri())
            if tab.evaluate("document.documentElement.scrollWidth") > viewport["width"]:
                wide.append(f"{page.relative_to(site)} at {viewport['width']} px")
            formulas += tab.evaluate(DRAWN)
        tab.close()
    assert not {url for url in asked if not url.startswith(("file:", "data:"))}
    assert not wide
    assert formulas >= 2  # docs/reading.md has a fraction


@pytest.mark.slow
def test_a_telephone_shows_all_columns_of_the_findings(site, browser):
    tab = browser.new_page(viewport=TELEPHONE)
    tab.goto((site / "findings.html").as_uri())
    table = "document.querySelector('.table-wrapper')"
    shown, needed = tab.evaluate(f"[{table}.clientWidth, {table}.scrollWidth]")
    tab.close()
    assert 0 < needed <= shown


@pytest.mark.slow
def test_the_answers_are_filtered_by_words_and_verdicts(site, browser):
    tab = browser.new_page(viewport=SCREEN)
    tab.goto((site / "findings.html").as_uri())
    everything = tab.evaluate(ANSWERS)
    assert len(everything) == int(re.search(r"(\d+) claims", tab.inner_text("article"))[1])
    for verdict in ("supported", "conditional", "unresolved"):
        tab.uncheck(f"input[name={verdict}]")
    refuted = [text for text in everything if "refuted" in text.split("\t")[2]]
    assert tab.evaluate(ANSWERS) == refuted
    assert 0 < len(refuted) < len(everything)
    tab.check("input[name=supported]")
    tab.fill("input[type=search]", "RESCALED clip")
    (one,) = tab.evaluate(ANSWERS)
    assert "C2.clip" in one
    assert tab.inner_text(".filter output") == f"1 of {len(everything)} answers"
    (question,) = tab.evaluate(QUESTIONS)  # of other studies nothing is left
    assert question in tab.inner_text("tr.question:not([hidden])")
    tab.fill("input[type=search]", "no such word")
    assert tab.evaluate(ANSWERS) == tab.evaluate(QUESTIONS) == []
    tab.close()


@pytest.mark.slow
def test_without_scripts_all_answers_are_there_and_verdicts_have_their_colours(site, browser):
    for scheme in ("light", "dark"):
        tab = browser.new_page(viewport=SCREEN, java_script_enabled=False, color_scheme=scheme)
        tab.goto((site / "findings.html").as_uri())
        assert tab.locator(".filter").count() == 0
        assert tab.locator("td .verdict").count() == tab.locator("td .verdict:visible").count() > 50
        verdicts = ("supported", "refuted", "conditional", "unresolved")
        words = [tab.locator(f"li .verdict.{verdict}").first for verdict in verdicts]
        colours = {word.evaluate("(one) => getComputedStyle(one).color") for word in words}
        assert len(colours) == 4
        tab.close()


ANSWERS = """[...document.querySelectorAll("tr:not(.question):not([hidden])")].slice(1).map(row => row.innerText)"""
QUESTIONS = """[...document.querySelectorAll("tr.question:not([hidden])")].map(row => row.innerText)"""
DRAWN = """[...document.querySelectorAll("math mfrac")].filter(fraction => {
    const [above, below] = [...fraction.children].map(part => part.getBoundingClientRect());
    return above.height > 0 && above.bottom <= below.top + 2;
}).length"""
