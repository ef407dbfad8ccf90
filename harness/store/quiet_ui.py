"""MLflow's server as `harness ui` starts it: a plugin of MLflow (an entry point of `mlflow.app`, see pyproject.toml).

MLflow opens its assistant beside the first page that a browser shows of a server on this machine. No option of the
server prevents that, and the answer of a sweep is then below the first screen. The page gets the preference that MLflow
itself stores after the first time; the assistant's button stays. Without the plugin only this preference is missing.
"""

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI
    from flask import Response

NAME = "harness-ui"
PREFERENCE = (
    b'<script>try { localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true") } catch {}</script>'
)


def is_installed() -> bool:
    """Whether MLflow finds the plugin: not where harness is on the path only, or was installed before it had one."""
    return bool(entry_points(group="mlflow.app", name=NAME))


def app() -> "FastAPI":
    """MLflow's own app, whose page remembers that the assistant has been shown."""
    from mlflow.server import app as pages
    from mlflow.server.fastapi_app import app as server

    pages.after_request(_with_preference)
    return server


def _with_preference(response: "Response") -> "Response":
    from flask import request

    if request.path == "/" and response.status_code == 200:
        response.direct_passthrough = False
        response.set_data(response.get_data().replace(b"<head>", b"<head>" + PREFERENCE, 1))
    return response
