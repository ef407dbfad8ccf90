"""MLflow's server as `harness ui` starts it: a plugin of MLflow (an entry point of `mlflow.app`, see pyproject.toml).

Beside the first page that a browser shows, MLflow opens its assistant, which pushes a run's description below the first
screen; of the description it shows 100 pixels. No option of the server changes that. So the page gets the preference
that MLflow itself stores after the first time, and a rule that leaves room for the verdict and the main figure. Neither
is documented: changed, MLflow's page is as it is without the plugin.
"""

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI
    from flask import Response

NAME = "harness-ui"
FIRST = b"""
<script>try { localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true") } catch {}</script>
<style>
div:has(> [data-testid="truncation-gradient"]) { max-height: 780px !important; }
[data-testid="truncation-gradient"] { display: none; }
</style>
"""


def is_installed() -> bool:
    """Whether MLflow finds the plugin: not where harness is on the path only, or was installed before it had one."""
    return bool(entry_points(group="mlflow.app", name=NAME))


def app() -> "FastAPI":
    """MLflow's own app, whose page begins with FIRST."""
    from mlflow.server import app as pages
    from mlflow.server.fastapi_app import app as server

    pages.after_request(_inplace_add)
    return server


def _inplace_add(response: "Response") -> "Response":
    from flask import request

    if request.path == "/" and response.status_code == 200:
        response.direct_passthrough = False
        response.set_data(response.get_data().replace(b"<head>", b"<head>" + FIRST, 1))
    return response
