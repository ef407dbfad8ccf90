"""The exported lessons in Chromium as a class sees them, with no network but the folder; and as Jupyter's files."""

import functools
import http.server
import json
import os
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from examples import exports, training

pytest.importorskip("marimo", reason="no marimo (pip install -e '.[lessons]')")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chromium")]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Of each lesson how many answers are revealed (in lesson 1 three and the seven formulas), and words of one of them.
ANSWERS = {
    "lesson_1_one_neuron": (10, "Nothing more complicated happens"),
    "lesson_2_three_methods": (3, "without a clock means nothing"),
    "lesson_3_decision_boundary": (3, "a larger learning rate under the same name"),
    "lesson_4_best_rate": (3, "One rate favours the batch size"),
    "lesson_5_own_figure": (4, "would flatter the cell"),
}
HEIGHT = "bar => bar.getRootNode().host.getBoundingClientRect().height"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


@contextmanager
def served(folder):
    """The address of a folder."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def pages(folder):
    """The address of the five lessons as pages."""
    exports.lessons("html", folder)
    with served(folder) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium (apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        no_network = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", no_network])
        yield browser
        browser.close()


@contextmanager
def opened(browser, address, page):
    """A tab with the page; a request to another address, or an error of a script, is a complaint."""
    tab = browser.new_page(viewport={"width": 1400, "height": 900})
    tab.set_default_timeout(120_000)
    tab.complaints = []
    own = (f"{address}/", "data:", "blob:")
    tab.on("request", lambda asked: None if asked.url.startswith(own) else tab.complaints.append(asked.url))
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.on("console", lambda said: tab.complaints.append(said.text) if said.type == "error" else None)
    tab.goto(f"{address}/{page}", wait_until="commit")
    yield tab
    tab.close()


def fits_a_telephone(tab):
    """Nothing is wider than a window of 400 pixels."""
    tab.set_viewport_size({"width": 400, "height": 900})
    tab.wait_for_timeout(500)
    return tab.evaluate("document.documentElement.scrollWidth") <= 400


def test_every_lesson_has_answers_to_reveal():
    assert list(ANSWERS) == [path.stem for path in exports.LESSONS]


@pytest.mark.parametrize("name", ANSWERS)
def test_a_page_shows_the_lesson_and_reveals_its_answers(browser, pages, name):
    n_answers, words = ANSWERS[name]
    with opened(browser, pages, f"{name}.html") as tab:
        bars, answer = tab.locator("marimo-accordion button"), tab.locator(".paragraph", has_text=words).last
        bars.nth(n_answers - 1).wait_for()
        assert bars.count() == n_answers
        assert not tab.locator("#cell-setup >> visible=true").count()
        assert not tab.get_by_text("Run or Edit").locator("visible=true").count()
        assert not tab.locator(".cm.opacity-20 >> visible=true").count()
        has_code = "\n@app.cell\n" in dict(zip(ANSWERS, exports.LESSONS, strict=True))[name].read_text(encoding="utf8")
        assert bool(tab.locator(".cm-editor >> visible=true").count()) == has_code
        assert not answer.is_visible()
        for k in range(n_answers):
            assert bars.nth(k).get_attribute("aria-expanded") == "false"
            hidden = bars.nth(k).evaluate(HEIGHT)
            bars.nth(k).click()
            tab.wait_for_timeout(600)
            assert bars.nth(k).evaluate(HEIGHT) > hidden + 20
        assert answer.is_visible()
        assert fits_a_telephone(tab)
        assert tab.complaints == []


def test_the_folder_has_no_file_of_marimos_that_the_pages_do_not_use(pages, folder):
    assert not list(folder.rglob("*.md"))
    named = {path.name for path in folder.iterdir() if path.is_file() and path.suffix != ".html"}
    of_manifest = {Path(icon["src"]).name for icon in json.loads((folder / "manifest.json").read_text())["icons"]}
    assert named == {"apple-touch-icon.png", "favicon.ico", "manifest.json"} | of_manifest


def test_a_lesson_with_a_cell_that_fails_is_not_exported(tmp_path):
    """So no page has such a cell."""
    broken = tmp_path / "broken.py"
    broken.write_text("import marimo\n\napp = marimo.App()\n\n\n@app.cell\ndef _():\n    1 / 0\n    return\n")
    with pytest.raises(RuntimeError, match=r"broken\.py"):
        exports.export(broken, "html", tmp_path)


def test_the_animation_plays(browser, pages):
    with opened(browser, pages, "lesson_2_three_methods.html") as tab:
        frame = tab.frame_locator("iframe").first
        captions = frame.locator("figcaption")
        captions.nth(2).wait_for()
        before = captions.all_inner_texts()
        frame.locator("#play").click()
        tab.wait_for_timeout(1500)
        after = captions.all_inner_texts()
        assert all(first != later for first, later in zip(before, after, strict=True))
        frame.locator("#time").fill(frame.locator("#time").get_attribute("max"))
        points = [len(p.split()) for p in frame.locator("svg polyline[stroke-width='2']").evaluate_all(
            "lines => lines.map((line) => line.getAttribute('points'))"
        )]  # fmt: skip
        assert len(points) == 9
        assert min(points) > 20


def test_the_lessons_as_files_of_jupyter(tmp_path):
    for path in exports.lessons("ipynb", tmp_path):
        cells = json.loads(path.read_text(encoding="utf8"))["cells"]
        outputs = [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]
        assert len(cells) > 5
        assert outputs
        assert not [output for output in outputs if output["output_type"] == "error"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The address of the page that brings its own Python, with all it needs in its folder."""
    if shutil.which("npm") is None:
        pytest.skip("no npm, which brings Pyodide (apt install npm)")
    folder = tmp_path_factory.mktemp("alone")
    exports.browser(folder, offline=True)
    with served(folder) as address:
        yield address


def test_the_browser_trains_what_python_trains(browser, alone):
    """The same costs, whatever the processor; the first curve within ten seconds, if other programs leave it a core."""
    with opened(browser, alone, "lesson_4_in_the_browser.html") as tab:
        tab.wait_for_selector("body[data-seconds]", timeout=60_000)
        shared_by = max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))
        assert float(tab.locator("body").get_attribute("data-seconds")) < 10 * shared_by
        assert cost(tab) == pytest.approx(training.bands("rings", 4, 0.1, "mean")["median"][-1], rel=1e-6)
        tab.locator("#size").fill("3")
        tab.locator("#rate").fill("1")
        tab.select_option("#reduction", "sum")
        assert cost(tab) == pytest.approx(training.bands("rings", 64, 0.01, "sum")["median"][-1], rel=1e-6)
        assert tab.locator("#curve polyline").count() == 1
        tab.select_option("#data", "line")
        tab.click("#train")
        tab.wait_for_selector("body[data-best]", timeout=120_000)
        best = json.loads(tab.locator("body").get_attribute("data-best"))
        assert best["mean"][-1] >= 8 * best["mean"][0]
        answer = tab.locator("#answer details p")
        assert not answer.is_visible()
        tab.click("#answer summary")
        assert answer.is_visible()
        assert fits_a_telephone(tab)
        assert tab.complaints == []


def cost(tab):
    return float(tab.locator("body").get_attribute("data-cost"))
