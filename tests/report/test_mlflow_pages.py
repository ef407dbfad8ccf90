"""The address that a command prints, opened in MLflow's own UI as `harness ui` starts it: an answer without clicks."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from tests.app.test_command import environment

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chromium")]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ROOT = Path(__file__).parents[2]
SLOW = 120_000  # milliseconds: the UI is large, and a machine may be busy


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(address of a sweep's page, the words of its command's end, ids of its cells) while `harness ui` runs.

    It ends at Ctrl-C.
    """
    from mlflow.tracking import MlflowClient

    folder = tmp_path_factory.mktemp("served")
    with_plugin(folder)
    words = ["-m", "dataset=iris", "batch_size=8,64", "learning_rate=0.1,1e3", "epochs=10", "seeds=6"]
    options = {"cwd": folder, "env": environment(), "text": True}
    options["env"]["PYTHONPATH"] = os.pathsep.join([str(folder / "installed"), options["env"].get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, "-m", "harness", *words], capture_output=True, timeout=300, **options)
    assert done.returncode == 0, done.stderr
    ui = subprocess.Popen([sys.executable, "-m", "harness", "ui"], stderr=subprocess.PIPE, **options)
    address = next(line for line in ui.stderr if line.startswith("Browse: ")).split()[1]
    found = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_runs(["1"], "tags.kind = 'cell'")
    yield address, done.stderr, [run.info.run_id for run in found]
    ui.send_signal(signal.SIGINT)
    ui.stderr.close()
    assert ui.wait(timeout=60) == 0
    assert address.rpartition("/")[2] in done.stderr  # the page of the last sweep


def with_plugin(folder):
    """What an installation of harness tells MLflow, whenever it was made: the plugins of pyproject.toml."""
    plugins = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["mlflow.app"]
    about = folder / "installed" / "plugins-0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: plugins\nVersion: 0\n")
    lines = [f"{name} = {place}" for name, place in plugins.items()]
    (about / "entry_points.txt").write_text("\n".join(["[mlflow.app]", *lines]))


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
    assert tab.get_by_text("sweep/lowest_train_cost").count() > 0
    assert tab.get_by_text("No metrics recorded").count() == 0
    assert tab.get_by_text("process.host").count() == 0


def test_nothing_stands_beside_the_first_page_and_the_answer_is_in_sight(tab, served):
    tab.set_viewport_size({"width": 1440, "height": 900})
    sentence = next(line for line in served[1].splitlines() if line.startswith("iris: "))
    tab.get_by_text(sentence[:60]).first.wait_for()
    assert tab.get_by_text(sentence[:60]).first.bounding_box()["y"] < 300
    picture = tab.locator("img[src*='front.png']").first
    picture.wait_for()
    assert picture.bounding_box()["y"] < 500
    bottom = picture.bounding_box()["y"] + picture.bounding_box()["height"]
    assert bottom < min(900, tab.locator("[data-testid='show-comment-toggle']").bounding_box()["y"])
    assert tab.get_by_text("Best learning rate tried").first.bounding_box()["y"] < picture.bounding_box()["y"]


def test_the_link_to_the_report_opens_it_beside_the_files(tab, served):
    with tab.expect_popup() as opened:
        tab.get_by_text("Report", exact=True).first.click()
    opened.value.frame_locator("iframe").first.locator(".moving .caption:not(:empty)").first.wait_for()


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
    tab.wait_for_function("/^Clocks: cost/m.test(document.body.innerText)")
    assert sections(tab)[:2] == ["Clocks: cost over epochs, updates, seconds", "cost"]


def test_the_charts_of_a_cell_begin_with_cost(tab, served):
    tab.goto(f"{served[0].partition('#')[0]}#/experiments/1/runs/{served[2][0]}/model-metrics")
    tab.wait_for_function("/^cost$/m.test(document.body.innerText)")
    assert sections(tab)[0] == "cost"
    box = tab.get_by_text("train", exact=True).first.bounding_box()
    assert box["y"] < 400  # in sight


def test_cells_that_are_compared_begin_with_cost(tab, served):
    link = tab.get_by_text("All cells as a table").first
    link.wait_for()
    tab.goto(f"{served[0].partition('#')[0]}{link.get_attribute('href')}")
    tab.get_by_text("6/6 diverged").first.wait_for()
    for i in range(1, 4):  # the first is that of all
        tab.get_by_role("checkbox").nth(i).check()
    tab.get_by_role("button", name="Compare").first.click()
    tab.get_by_text("Comparing 3 Runs").first.wait_for()
    plot = tab.locator(".js-plotly-plot").first
    plot.wait_for()
    assert "cost/train" in plot.inner_text()


def sections(tab):
    """Names of the sections of charts, from above."""
    names = "Clocks: .*|cost|diverged|final|gradient|noise|progress|spread|sweep|time|validation"
    return re.findall(rf"^({names})$", tab.inner_text("body"), re.MULTILINE)


def test_the_table_of_cells_shows_keys_costs_and_what_diverged(tab, served):
    link = tab.get_by_text("All cells as a table").first
    link.wait_for()
    tab.goto(f"{served[0].partition('#')[0]}{link.get_attribute('href')}")
    for text in ("batch_size", "learning_rate", "reduction", "outcome"):
        tab.get_by_text(text, exact=True).first.wait_for()
    tab.get_by_text("6/6 diverged").first.wait_for()
