"""Words and pictures: the note of a sweep, its figures, its page; the findings of studies.

The home of matplotlib. May import `analysis` and the rooms before it; computes nothing but what a figure shows.
"""

from harness.report.curves import BASELINES, cell_figures
from harness.report.encoding import png, pngs, save, shrunk
from harness.report.findings import finding_figures
from harness.report.headlines import headlines
from harness.report.layout import log_axis
from harness.report.markdown import (
    about_data,
    bounds,
    code,
    duration,
    file_names,
    harmless,
    held,
    interval,
    number,
    price,
    shortened,
    verdicts_along,
)
from harness.report.notes import note
from harness.report.own_figures import FIGURES, own_figures
from harness.report.page import page
from harness.report.paper import Origin, paper
from harness.report.records import COMPARISON, comparisons, plain_rows, records
from harness.report.scores import score_sentences
from harness.report.style import COLOURS, STYLE
from harness.report.sweep_figures import figures
from harness.report.terminal import CellsTable, cells_table
