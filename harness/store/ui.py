"""What MLflow's UI shows of our runs: tags that it reads, and addresses of its pages.

These names are not arguments of MLflow's Python API. Each function says what is lost if a version of MLflow changes
its name, and tests/store/test_mlflow_names.py finds such a version. The runs and their points do not depend on them.
(MLflow's variables and error codes are in `connection`, its limits and the words of a conflict in `delivery`.)
"""

import getpass
import json
from collections.abc import Sequence

LOCAL_UI = "http://127.0.0.1:5000"  # of `mlflow ui`
COMMIT_TAG = "mlflow.source.git.commit"  # documented as a system tag; the UI shows it as the run's version


def owner_tags() -> dict[str, str]:
    """Who created a run and with what: documented system tags. Renamed, the UI's columns user and source are empty."""
    return {"mlflow.user": getpass.getuser(), "mlflow.source.name": "harness", "mlflow.source.type": "LOCAL"}


def parent_tags(parent: str | None) -> dict[str, str]:
    """Nest a run below its parent: a documented system tag. Renamed, the UI lists cells beside their sweep."""
    return {"mlflow.parentRunId": parent} if parent else {}


def note_tags(markdown: str) -> dict[str, str]:
    """The description on top of a run's page: a documented system tag. Renamed, runs have no description."""
    return {"mlflow.note.content": markdown}


def table_tags(path: str) -> dict[str, str]:
    """Announce an artifact as a table that the UI can show and compare between runs.

    MLflow's log_table writes this tag; its content is not documented. Changed, the table is an ordinary file.
    """
    return {"mlflow.loggedArtifacts": json.dumps([{"path": path, "type": "table"}])}


def view_tag(sweep: str, filter_string: str, columns: Sequence[str], order_by: str) -> tuple[str, str]:
    """Name and value of an experiment's tag that saves a view of its runs: cells as flat rows with these columns.

    The UI's "share view" button writes this tag; it is not documented. Changed, `table_link` shows all runs with the
    default columns. Ordered by the date, which is the default, cells would stay folded under their parent.
    """
    view = {
        "searchFilter": filter_string,
        "selectedColumns": list(columns),
        "orderByKey": order_by,
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
    }
    return f"mlflow.sharedViewState.{sweep}", json.dumps(view)


class UI:
    """Addresses of an experiment's pages. They are not documented: changed, a link opens the UI's start page."""

    def __init__(self, store_uri: str, experiment_id: str) -> None:
        self._is_server = store_uri.startswith("http")  # a server is its own UI
        root = store_uri.rstrip("/") if self._is_server else LOCAL_UI
        self._experiment = f"{root}/#/experiments/{experiment_id}"

    @property
    def hint(self) -> str:
        """What to do with the links below."""
        return "open" if self._is_server else "run `mlflow ui` here, then open"

    def run_link(self, run_id: str) -> str:
        """The page of one run."""
        return f"{self._experiment}/runs/{run_id}?workflowType=machine_learning"

    def table_link(self, sweep: str | None = None) -> str:
        """The table of all runs in the model-training view; of a sweep, its cells as `view_tag` saved them."""
        link = f"{self._experiment}/runs?workflowType=machine_learning"
        return link + (f"&viewStateShareKey={sweep}" if sweep else "")
