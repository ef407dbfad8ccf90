"""The charts that MLflow's UI shows of a sweep's cells first: cost over each clock. It draws the others below them.

Not documented, as all of a saved view: changed, the UI draws a chart of each metric, in the order of their names.
"""

from typing import Any

SECTION, NAME = "clocks", "Clocks: cost over epochs, updates, seconds"  # sections are ordered by their names
CHARTS = (  # metric, and the metric on its x axis, or `step`: the number of updates
    ("cost/train", "progress/epochs"),
    ("cost/validation", "progress/epochs"),
    ("cost/train", "step"),
    ("cost/train", "progress/train_seconds"),
)


def cost_charts() -> dict[str, Any]:
    """The part of a view that says it."""
    own = {"uuid": SECTION, "name": NAME, "display": True, "isReordered": False}
    return {
        "compareRunSections": [own | {"deleted": False, "isGenerated": False}],
        "compareRunCharts": [_line(*metrics) for metrics in CHARTS],
    }


def _line(metric: str, over: str) -> dict[str, Any]:
    return {
        "type": "LINE", "uuid": f"{metric} {over}", "metricSectionId": SECTION, "deleted": False,
        "isGenerated": False, "runsCountToCompare": 20, "metricKey": metric, "selectedMetricKeys": [metric],
        "xAxisKey": "metric" if "/" in over else over, "selectedXAxisMetricKey": over,
        "xAxisScaleType": "linear", "scaleType": "log",
        "lineSmoothness": 0, "useGlobalLineSmoothing": False, "useGlobalXaxisKey": False, "yAxisKey": "metric",
        "yAxisExpressions": [], "displayPoints": False, "ignoreOutliers": False, "range": {},
    }  # fmt: skip
