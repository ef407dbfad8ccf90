"""The plugin of MLflow's server: its page shows the answer at once, and nothing else changes."""

import tomllib
from importlib import import_module
from pathlib import Path

from flask import Flask

from harness.store import ui_plugin


def test_the_page_of_the_ui_is_completed_and_no_other_answer_does():
    pages, html = Flask("ui"), "<html><head><title>A</title></head></html>"
    pages.after_request(ui_plugin._inplace_add)
    pages.add_url_rule("/", "page", lambda: html)
    pages.add_url_rule("/get-artifact", "artifact", lambda: html)
    client = pages.test_client()
    assert client.get("/").text == f"<html><head>{ui_plugin.FIRST.decode()}<title>A</title></head></html>"
    assert client.get("/get-artifact").text == html
    assert client.get("/nowhere").status_code == 404


def test_the_project_names_the_plugin_that_the_command_asks_for():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    ((name, place),) = project["entry-points"]["mlflow.app"].items()
    module, _, function = place.partition(":")
    assert name == ui_plugin.NAME
    assert getattr(import_module(module), function) is ui_plugin.app
