"""Words and pictures: the note of a sweep, its figures, its page; the findings of studies.

The home of matplotlib. May import `analysis` and the rooms before it; computes nothing but positions on a figure.
"""

from harness.report.markdown import interval, number, shortened
from harness.report.notes import note
from harness.report.page import html
from harness.report.plots import COLOURS, STYLE, log_scale

__all__ = [
    "COLOURS",
    "STYLE",
    "html",
    "interval",
    "log_scale",
    "note",
    "number",
    "shortened",
]
