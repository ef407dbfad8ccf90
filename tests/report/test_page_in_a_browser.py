"""Every control of the report, used in Chromium as a reader would, and its effect read from what is drawn."""

import math
import shutil

import pytest

from harness.report import figures, note, page, png
from tests.synthetic import cell, evidence

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chromium")]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SIZES, RATES, REDUCTIONS = (1, 8, 64), (0.01, 0.1, 1.0), ("mean", "sum")
WIDTHS = (1400, 1000, 400)
COLUMN = "(name) => Bokeh.documents.map((d) => d.get_model_by_name(name)).find(Boolean).data"
VISIBLE = """() => ["linear", "log"].flatMap((x) => ["linear", "log"].map((y) => `curves ${x} ${y}`)).filter(
    (name) => Bokeh.documents.map((d) => d.get_model_by_name(name)).find(Boolean).visible)"""


def final(size, rate, reduction):
    """A sum at η ends where a mean at ηB does."""
    lr_mean = rate * size if reduction == "sum" else rate
    return None if lr_mean > 50 else 0.02 + 0.05 * abs(lr_mean - 0.5)


def written(folder, *cells):
    """The report of these cells, in a file."""
    one = evidence(*cells)
    drawn = {name: png(figure) for name, figure in figures(one.data, one.answer).items()}
    path = folder / "report.html"
    path.write_text(page(one.data, one.answer, note(one.data, one.answer), drawn, lambda run: f"http://store/{run}"))
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    cells = [cell(b, r, red, final=final(b, r, red)) for b in SIZES for r in RATES for red in REDUCTIONS]
    return written(tmp_path_factory.mktemp("report"), *cells)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium (apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(browser, report, width=1400, **options):
    """A tab with the page, in which a request or an error of a script is a failure."""
    tab = browser.new_page(viewport={"width": width, "height": 900}, **options)
    tab.complaints = []
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.on("console", lambda said: tab.complaints.append(said.text) if said.type == "error" else None)
    tab.on(
        "request", lambda asked: tab.complaints.append(asked.url) if not asked.url.startswith(("file:", "data:")) else 0
    )
    tab.goto(report.as_uri())
    if options.get("java_script_enabled", True):
        tab.wait_for_selector(".moving .caption:not(:empty)")
    return tab


@pytest.fixture(params=WIDTHS)
def tab(browser, report, request):
    tab = opened(browser, report, request.param)
    yield tab
    assert tab.complaints == []
    tab.close()


def lines(tab, chart):
    return tab.evaluate(COLUMN, f"{chart} lines")


# What sweeps vary: names of charts, and the cells.
SHAPES = {
    "batch size": (["curves"], [cell(b, 0.1, final=0.1 * b) for b in SIZES]),
    "learning rate": (["curves", "slice"], [cell(8, r, final=r) for r in RATES]),
    "reduction": (["curves"], [cell(8, 0.1, r, final=0.1) for r in REDUCTIONS]),
    "nothing": (["curves"], [cell(8, 0.1, final=0.1)]),
    "two keys": (["curves", "slice"], [cell(b, r, final=b * r) for b in SIZES for r in RATES]),
}


@pytest.mark.parametrize("varied", SHAPES)
def test_every_chart_that_a_report_has_is_drawn(browser, tmp_path, varied):
    names, cells = SHAPES[varied]
    tab = opened(browser, written(tmp_path, *cells))
    charts = tab.locator(".moving")
    assert [one.get_attribute("data-chart") for one in charts.all()] == names
    for name in names:
        tab.locator(f'[data-chart="{name}"] canvas:visible').first.wait_for()
        assert lines(tab, name)["xs"]
    assert tab.complaints == []


def test_all_cells_are_drawn_or_the_best(tab):
    form = tab.locator('[data-chart="curves"] form')
    assert len(lines(tab, "curves")["xs"]) == len(SIZES) * len(REDUCTIONS)  # the best rate of each
    form.locator("[name=best]").select_option("all")
    assert len(lines(tab, "curves")["xs"]) == len(SIZES) * len(RATES) * len(REDUCTIONS)
    assert "18 of 18 cells" in tab.locator('[data-chart="curves"] .caption').inner_text()


@pytest.mark.parametrize("name", ["batch_size", "reduction", "learning_rate"])
def test_a_value_is_hidden_and_shown(tab, name):
    form = tab.locator('[data-chart="curves"] form')
    form.locator("[name=best]").select_option("all")
    before = len(lines(tab, "curves")["xs"])
    n = form.locator(f"[name={name}]").count()
    form.locator(f"[name={name}]").first.uncheck()
    assert len(lines(tab, "curves")["xs"]) == before - before // n
    form.locator(f"[name={name}]").first.check()
    assert len(lines(tab, "curves")["xs"]) == before


def test_the_clock_changes_what_is_below_the_lines(tab):
    form = tab.locator('[data-chart="curves"] form')
    ends = {}
    for clock in ("epoch", "update", "examples", "train_seconds"):
        form.locator("[name=clock]").select_option(clock)
        ends[clock] = sorted(max(xs) for xs in lines(tab, "curves")["xs"])
        scale = "linear" if clock == "epoch" else "log"
        assert tab.evaluate(VISIBLE) == [f"curves {scale} log"]
    assert ends["epoch"] == pytest.approx([10] * 6)
    assert ends["update"][0] == pytest.approx(160)  # of B = 64
    assert ends["update"][-1] == pytest.approx(10240)
    assert len(set(map(tuple, ends.values()))) == 4


def test_the_measure_and_the_scale_can_be_chosen(tab):
    form = tab.locator('[data-chart="curves"] form')
    costs = lines(tab, "curves")["ys"]
    form.locator("[name=measure]").select_option("validation_cost")
    assert lines(tab, "curves")["ys"] != costs
    form.locator("[name=scale]").select_option("linear")
    assert tab.evaluate(VISIBLE) == ["curves linear linear"]


def test_the_slider_moves_sum_onto_mean(tab):
    """With raw rates the curves of sum and mean lie apart, with lr_mean on one another."""
    slider = tab.locator('[data-chart="slice"] [name=units]')

    def places(dash):
        drawn = lines(tab, "slice")
        return {
            round(x, 6): round(y, 6)
            for xs, ys, own in zip(drawn["xs"], drawn["ys"], drawn["dash"], strict=True)
            for x, y in zip(xs, ys, strict=True)
            if (len(own) > 0) is dash
        }

    def differ():
        mean, total = places(False), places(True)
        return [x for x in mean.keys() & total.keys() if abs(mean[x] / total[x] - 1) > 0.2]

    assert differ()
    slider.evaluate("(one) => { one.value = 1; one.dispatchEvent(new Event('input', { bubbles: true })); }")
    assert not differ()
    assert len(places(True)) > 3
    strips = tab.evaluate(COLUMN, "slice strips")
    assert min(strips["left"]) == pytest.approx(64)  # the only rate that diverges, as lr_mean


def test_what_is_under_the_pointer_is_told(tab):
    found = pointed_at(tab, tab.locator('[data-chart="slice"]'), "final training cost")
    assert "final training cost" in found
    assert "of 10 replicas" in found
    assert "python -m harness verify" in found


def pointed_at(tab, chart, words):
    """The first text with these words that the pointer finds on a chart, or ""."""
    chart.scroll_into_view_if_needed()
    box = chart.locator(".bk-Figure").bounding_box()
    for x in range(60, int(box["width"]) - 60, 12):
        for y in range(20, int(box["height"]) - 60, 12):
            tab.mouse.move(box["x"] + x, box["y"] + y)
            if words in (tip := tab.evaluate(TOOLTIPS)):
                return tip
    return ""


RANGE = """(axis) => {
  const range = Bokeh.documents.map((d) => d.get_model_by_name("slice")).find(Boolean)[`${axis}_range`];
  return [range.start, range.end];
}"""
TOOLTIPS = """() => {
  const texts = [];
  const walk = (node) => {
    if (node.shadowRoot) walk(node.shadowRoot);
    if (node.classList && node.classList.contains("bk-tooltip-content")) texts.push(node.innerText);
    node.childNodes.forEach(walk);
  };
  walk(document.body);
  return texts.join(" ");
}"""


def test_the_table_is_sorted_by_a_click_and_links_to_each_run(tab):
    tab.locator('[id="all-cells"] summary').click()  # more cells than are shown unasked
    table = tab.locator("table.cells")
    head = table.locator("th button", has_text="η")
    head.click()
    rates = [float(text) for text in table.locator("tbody td:nth-child(3)").all_inner_texts()]
    assert rates == sorted(rates)
    head.click()
    assert [float(text) for text in table.locator("tbody td:nth-child(3)").all_inner_texts()] == sorted(rates)[::-1]
    assert table.locator("a[href^='http://store/']").count() == 18


def test_contents_lead_to_their_sections(tab):
    for link in tab.locator("nav a").all():
        link.click()
        section = tab.locator(f'[id="{link.get_attribute("href")[1:]}"]')
        assert section.bounding_box()["y"] < 900
        tab.evaluate("scrollTo(0, 0)")


def test_a_table_is_unfolded_by_a_click(tab):
    numbers = tab.locator("details", has_text="Numbers").first
    assert not numbers.locator("table").first.is_visible()
    numbers.locator("summary").click()
    assert numbers.locator("table").first.is_visible()


def test_few_cells_stand_unfolded(browser, tmp_path):
    tab = opened(browser, written(tmp_path, *SHAPES["batch size"][1]))
    assert tab.locator("table.cells").is_visible()


def test_one_of_several_settings_is_chosen(browser, tmp_path):
    """Two datasets: their costs have no axis in common where batch sizes have the colours."""
    cells = [cell(b, 0.1, final=0.1 * b, dataset=data) for b in SIZES for data in ("iris", "wine")]
    tab = opened(browser, written(tmp_path, *cells))
    form = tab.locator('[data-chart="curves"] form')
    first = lines(tab, "curves")["ys"]
    assert len(first) == len(SIZES)
    form.locator("[name=setting]").select_option(index=1)
    assert len(lines(tab, "curves")["ys"]) == len(SIZES)
    tips = tab.evaluate(COLUMN, "curves points")["name"]
    assert all("wine" in name for name in tips)
    assert tab.complaints == []


@pytest.mark.parametrize(("name", "part"), [("batch_size", 3), ("reduction", 2)])
def test_a_curve_of_the_slice_is_hidden_and_shown(tab, name, part):
    box = tab.locator(f'[data-chart="slice"] form [name={name}]').first
    before = len(lines(tab, "slice")["xs"])
    box.uncheck()
    assert len(lines(tab, "slice")["xs"]) == before - before // part
    box.check()
    assert len(lines(tab, "slice")["xs"]) == before


def test_strips_of_diverged_rates_lie_above_all_lines(tab):
    low, high = tab.evaluate(RANGE, "y")
    top = max(y for ys in lines(tab, "slice")["ys"] for y in ys)
    part = (math.log10(top) - math.log10(low)) / (math.log10(high) - math.log10(low))
    assert 0.3 < part < min(tab.evaluate(COLUMN, "slice strips")["bottom"])


def test_a_chart_is_moved_and_put_back(tab):
    chart = tab.locator('[data-chart="slice"]')
    chart.scroll_into_view_if_needed()
    box, before = chart.locator(".bk-Figure").bounding_box(), tab.evaluate(RANGE, "x")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + 60, y, steps=4)
    tab.mouse.up()
    assert tab.evaluate(RANGE, "x")[0] < before[0]
    chart.locator(".bk-tool-icon-reset").click()
    tab.wait_for_function(f"(before) => ({RANGE})('x')[0] === before", arg=before[0])


def test_a_line_of_all_keys_at_once_tells_its_cell(tab):
    chart = tab.locator('[data-chart="parallel"]')
    assert pointed_at(tab, chart, "digits B=")


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window_and_the_verdict_comes_first(browser, report, width):
    tab = opened(browser, report, width)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.locator(".tile").first.bounding_box()["y"] < 300
    if width >= 1000:
        assert tab.locator('[data-chart="curves"]').bounding_box()["y"] < 800
    assert tab.complaints == []


def test_on_a_phone_a_picture_keeps_its_letters_readable(browser, report):
    tab = opened(browser, report, 400)
    figure = tab.locator("figure:visible").first
    assert figure.locator("img").bounding_box()["width"] >= 700
    assert figure.bounding_box()["width"] <= 400
    assert figure.evaluate("(one) => one.scrollWidth > one.clientWidth")


def test_without_scripts_static_figures_stand_in_their_places(browser, report):
    tab = opened(browser, report, java_script_enabled=False)
    assert not tab.locator(".moving").first.is_visible()
    assert tab.locator(".static img").count() >= 2
    assert all(image.is_visible() for image in tab.locator(".static img").all())


def test_in_the_dark_letters_are_light(browser, report):
    tab = opened(browser, report, color_scheme="dark")
    ground, ink = (tab.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color"))
    assert ground == "rgb(21, 21, 21)"
    assert ink == "rgb(232, 232, 232)"


def test_it_can_be_printed(browser, report):
    tab = opened(browser, report)
    assert tab.pdf()[:4] == b"%PDF"
    tab.emulate_media(media="print")
    assert not tab.locator("form").first.is_visible()
    for name in ("curves", "slice"):  # their colours are named by controls only
        assert not tab.locator(f'[data-chart="{name}"]').is_visible()
        assert tab.locator(f'[data-chart="{name}"] + .static img').first.is_visible()
    assert tab.locator('[data-chart="parallel"]').is_visible()
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert all(tab.evaluate("[...document.querySelectorAll('details')].map((one) => one.open)"))
