"""The address that a command prints, opened in MLflow's own UI as `harness ui` starts it: an answer without clicks."""

import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.app.test_command import environment

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chromium")]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SLOW = 120_000  # milliseconds: the UI is large, and a machine may be busy


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(address of a sweep's page, the words of its command's end) while `harness ui` runs, which ends at Ctrl-C."""
    folder = tmp_path_factory.mktemp("served")
    words = ["-m", "dataset=iris", "batch_size=8,64", "learning_rate=0.1,1e3", "epochs=10", "seeds=6"]
    options = {"cwd": folder, "env": environment(), "text": True}
    done = subprocess.run([sys.executable, "-m", "harness", *words], capture_output=True, timeout=300, **options)
    assert done.returncode == 0, done.stderr
    ui = subprocess.Popen([sys.executable, "-m", "harness", "ui"], stderr=subprocess.PIPE, **options)
    address = next(line for line in ui.stderr if line.startswith("Browse: ")).split()[1]
    yield address, done.stderr
    ui.send_signal(signal.SIGINT)
    ui.stderr.close()
    assert ui.wait(timeout=60) == 0
    assert address.rpartition("/")[2] in done.stderr  # the page of the last sweep


@pytest.fixture
def tab(served):
    if CHROMIUM is None:
        pytest.skip("no Chromium (apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1440, "height": 1000})
        tab.set_default_timeout(SLOW)
        tab.goto(served[0])
        yield tab
        browser.close()


def test_verdict_and_figure_are_on_the_printed_page(tab, served):
    sentence = next(line for line in served[1].splitlines() if line.startswith("iris: "))
    tab.get_by_text(sentence[:60]).first.wait_for()
    picture = tab.locator("img[src*='front.png']").first
    picture.wait_for()
    deadline = time.monotonic() + SLOW / 1000
    while not (wide := picture.evaluate("image => image.naturalWidth")) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert 500 <= wide <= 700
    assert tab.get_by_text("answer/lowest_train_cost").count() > 0
    assert tab.get_by_text("No metrics recorded").count() == 0
    assert tab.get_by_text("process.host").count() == 0


def test_the_report_moves_inside_the_artifact_viewer(tab, served):
    tab.get_by_role("tab", name="Artifacts").click()
    tab.get_by_text("report.html").first.click()
    frame = tab.frame_locator("iframe").first
    frame.locator(".moving .caption:not(:empty)").first.wait_for()
    assert frame.locator(".tile").count() >= 1


def test_the_charts_begin_with_cost_over_epochs(tab, served):
    link = tab.get_by_text("Their curves").first
    link.wait_for()
    tab.goto(f"{served[0].partition('#')[0]}{link.get_attribute('href')}")
    tab.wait_for_function("/^Cost\\b/m.test(document.body.innerText)")
    sections = re.findall(r"^(Cost|baseline|batch|best|final|noise|time)\b", tab.inner_text("body"), re.MULTILINE)
    assert sections[0] == "Cost"


def test_the_table_of_cells_shows_keys_costs_and_what_diverged(tab, served):
    link = tab.get_by_text("All cells as a table").first
    link.wait_for()
    tab.goto(f"{served[0].partition('#')[0]}{link.get_attribute('href')}")
    for text in ("batch_size", "learning_rate", "reduction", "outcome"):
        tab.get_by_text(text, exact=True).first.wait_for()
    tab.get_by_text("6/6 diverged").first.wait_for()
