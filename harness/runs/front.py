"""What MLflow's pages show of a sweep at once: the main figure and links, a few metrics, where to click."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from harness.report import shortened, shrunk
from harness.runs.kept import load_dataset

if TYPE_CHECKING:
    from harness.analysis import SweepData
    from harness.runs.grid import GridCell
    from harness.store import RunWriter, Store

UNSAFE = re.compile(r"[^\w .,=-]")  # signs that may mean something in Markdown
MAIN = "clocks"  # the figure of a sweep without claims
PICTURE, PIXELS = "figures/front.png", 640
MOST_DATASETS = 4  # of which the parent run has a record
FIRST = "Last sweep:"  # so begins the description of an experiment, of which the UI shows one line
GUIDE = (
    "A run whose name lists values (`digits batch_size=1,64,512`) is a sweep: its page begins with "
    "the answer and the main figure, and has the whole report among its artifacts. Its cells are the runs below it."
)


def draw(folder: Path, pictures: Mapping[str, bytes]) -> None:
    """The main picture of a sweep as small as a note needs it; MLflow shows pictures in their own size."""
    main = next((title for title in pictures if title.startswith(("claim", MAIN))), next(iter(pictures), None))
    if main is not None:
        (folder / PICTURE).write_bytes(shrunk(pictures[main], PIXELS))


def illustrated(words: str, picture: bool, store: "Store", sweep: str) -> str:
    """The note of a sweep with its main figure and links after the first sentences, as long as MLflow keeps it.

    Pictures and links are relative: they hold wherever the UI runs.
    """
    links = f"[Report]({store.ui.within()}/{sweep}/artifacts/report.html)"
    links += f" · [All cells as a table]({store.ui.within(sweep)})"
    links += f" · [Their curves]({store.ui.within(sweep)}&compareRunsMode=CHART)"
    more = [f"![]({_artifact(PICTURE, sweep)})", links] if picture else [links]
    paragraphs = shortened(words, spare=sum(map(len, more)) + 4).split("\n\n")
    first = next((i for i, text in enumerate(paragraphs) if not text.startswith("**")), len(paragraphs))
    return "\n\n".join([*paragraphs[:first], *more, *paragraphs[first:]])


def _artifact(path: str, run_id: str) -> str:
    return f"get-artifact?path={quote(path, safe='')}&run_uuid={run_id}"


def metrics(data: "SweepData") -> dict[str, float]:
    """Of the parent run: how many cells ended how, what they took, and which has the lowest median training cost.

    The last not over several tasks, whose costs do not compare.
    """
    cells, done = data.cells, data.finished
    values = {
        "sweep/cells_finished": len(done),
        "sweep/cells_missing": len(cells) - len(done),
        "sweep/cells_diverged": (done["n_diverged"] > 0).sum() if len(done) else 0,
    }
    if "time/wall_seconds" in done:
        values["sweep/cells_wall_seconds"] = round(done["time/wall_seconds"].sum(), 1)
    if len(done) and done["task"].nunique() == 1 and np.isfinite(done["score"].min()):
        lowest = done.loc[done["score"].idxmin()]
        values |= {f"sweep/lowest_{key}": lowest[key] for key in ("batch_size", "learning_rate")}
        values["sweep/lowest_train_cost"] = float(f"{lowest['score']:.3g}")
    return values


def record_datasets(parent: "RunWriter", cells: "Sequence[GridCell]") -> None:
    """The data of a sweep, as MLflow's own records."""
    different = {cell.identity.data: cell for cell in cells}
    for cell in list(different.values())[:MOST_DATASETS]:
        data, sizes = load_dataset(cell.config.dataset), cell.identity.plan.sizes
        parent.dataset(data.name, data.digest, cell.config.dataset.load, len(data.X), sizes[0])


def describe(store: "Store", sweep: str, name: str) -> None:
    """Say on the experiment's page where to click, unless a user has written something there."""
    name = UNSAFE.sub(" ", name)
    last = f"[{name}]({store.ui.within()}/{sweep}?workflowType=machine_learning)"
    store.describe(f"{FIRST} {last}, [its cells as a table]({store.ui.within(sweep)}). {GUIDE}", unless_not=FIRST)
