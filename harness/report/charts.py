"""The moving charts of a report as Bokeh documents without data: `page.js` fills their sources and shows one of each.

Bokeh draws, zooms and shows what is under the pointer. A chart exists for each pair of scales that can be chosen, as a
scale cannot be changed in a browser.
"""

import json
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config import kept_text
from harness.report import parallel as parallel_axes
from harness.report.parallel import KEYS, parallel, quiet

if TYPE_CHECKING:
    import pandas as pd
    from bokeh.plotting import figure

IDS = re.compile(
    r'(?<=")p\d{4,}(?=")|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b'
)  # of Bokeh's models and documents
HEIGHT = 430  # pixels
LINES: dict[str, list[Any]] = {name: [] for name in ("xs", "ys", "colour", "dash", "width", "alpha")}
BANDS: dict[str, list[Any]] = {name: [] for name in ("xs", "ys", "colour")}
POINTS: dict[str, list[Any]] = {
    name: [] for name in ("x", "y", "colour", "size", "marker", "name", "value", "count", "command")
}
STRIPS: dict[str, list[Any]] = {name: [] for name in ("left", "right", "bottom", "top", "colour", "hatch")}
TOOLTIP = """<div style="max-width: 22rem; overflow-wrap: anywhere"><b>@name</b><br>@value<br>@count<br>
<code>@command</code></div>"""


def charts(cells: "pd.DataFrame") -> tuple[str, dict[str, str]]:
    """The script that makes all charts, and the place of each: `curves`, `slice`, and `parallel` of three keys or more.

    cells: the finished ones. A page has to hold every place: Bokeh draws none of the charts where one is missing.
    Those that hold no numbers of the cells are kept, as Bokeh takes half a second to be imported and to make them.
    """
    has_slice = (cells.groupby(["setting", "batch_size", "reduction"])["learning_rate"].nunique() > 1).any()
    keys = [key for key in KEYS if cells[key].nunique() > 1]
    if len(keys) > 2:
        return _made(has_slice, cells, keys)
    name = "slice" if has_slice else "curves"
    script, places = json.loads(kept_text(f"{name}.json", lambda: json.dumps(_made(has_slice)), *_versions()))
    return script, places


def _made(has_slice: bool, cells: "pd.DataFrame | None" = None, keys: Sequence[str] = ()) -> tuple[str, dict[str, str]]:
    """cells, keys: of the parallel chart, if there is one."""
    from bokeh.embed import components
    from bokeh.layouts import column

    made = {"curves": column(_curves(), sizing_mode="stretch_width")}
    if has_slice:
        made["slice"] = _slice()
    if cells is not None:
        made["parallel"] = parallel(cells, keys)
    script, places = components(made, wrap_script=False)
    found = dict.fromkeys(IDS.findall(script))
    numbers = {own: f"m{i}" for i, own in enumerate(found)}
    return _with_ids(script, numbers), {name: _with_ids(place, numbers) for name, place in places.items()}


def _versions() -> list[str]:
    """Of Bokeh and of what it is told here."""
    return [version("bokeh"), *(Path(file).read_text(encoding="utf8") for file in (__file__, parallel_axes.__file__))]


def _with_ids(text: str, ids: dict[str, str]) -> str:
    """Bokeh's are drawn at random, or count what the process has drawn; a page is the same whenever it is made."""
    return IDS.sub(lambda found: ids[found[0]], text)


def javascript() -> str:
    """Bokeh's JavaScript, for a page that loads nothing."""

    def make() -> str:
        from bokeh.resources import Resources

        return "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)

    return kept_text("bokeh.js", make, version("bokeh"))


def _curves() -> "list[figure]":
    from bokeh.models import ColumnDataSource

    sources = {name: ColumnDataSource(dict(columns), name=f"curves {name}") for name, columns in SOURCES.items()}
    return [_lines(f"curves {x} {y}", x, y, sources) for x in ("linear", "log") for y in ("linear", "log")]


def _slice() -> "figure":
    """Cost against learning rate; above it a strip for each line that says where it diverges."""
    from bokeh.models import ColumnDataSource, LinearScale, Range1d

    sources = {name: ColumnDataSource(dict(columns), name=f"slice {name}") for name, columns in SOURCES.items()}
    plot = _lines("slice", "log", "log", sources)
    plot.visible, plot.y_range = True, Range1d(0.1, 10)  # `page.js` leaves room for the strips above the lines
    plot.extra_y_ranges, plot.extra_y_scales = {"strips": Range1d(0, 1)}, {"strips": LinearScale()}
    strips = ColumnDataSource(dict(STRIPS), name="slice strips")
    plot.quad(
        "left", "right", "top", "bottom", source=strips, y_range_name="strips", fill_color="colour", fill_alpha=0.12,
        line_color=None, hatch_pattern="hatch", hatch_color="colour", hatch_alpha=0.8, hatch_scale=8, hatch_weight=1,
    )  # fmt: skip
    return plot


SOURCES = {"lines": LINES, "bands": BANDS, "points": POINTS}


def _lines(name: str, x: Any, y: Any, sources: dict[str, Any]) -> "figure":
    from bokeh.models import HoverTool
    from bokeh.plotting import figure

    plot = figure(
        name=name, x_axis_type=x, y_axis_type=y, height=HEIGHT, sizing_mode="stretch_width", visible=False,
        tools="pan,box_zoom,wheel_zoom,reset", toolbar_location="right",
    )  # fmt: skip
    plot.toolbar.logo = None
    plot.toolbar.active_scroll = None
    plot.patches("xs", "ys", source=sources["bands"], color="colour", alpha=0.15, line_alpha=0)
    plot.multi_line(
        "xs", "ys", source=sources["lines"], line_color="colour", line_dash="dash", line_width="width",
        line_alpha="alpha",
    )  # fmt: skip
    points = plot.scatter(
        "x", "y", source=sources["points"], color="colour", size="size", marker="marker", hover_alpha=1.0
    )
    plot.add_tools(HoverTool(renderers=[points], tooltips=TOOLTIP, point_policy="snap_to_data"))
    quiet(plot)
    return plot
