"""Names of MLflow that its API does not promise: is each still there in the version that is installed?

What breaks when one is gone stands in the docstring of the function that uses it, and in the message here.
"""

import importlib
import inspect
import json
import os
from pathlib import Path

import mlflow
import pytest

from harness.store import connection, delivery, writer
from harness.store.connection import COMMIT_TAG, note_tags, run_tags, table_tags, view_tag
from harness.store.pages import UI

VIEW_TAG, VIEW = view_tag("SWEEP", "tags.`sweep` = 'yes'", ["params.`batch_size`"], "metrics.`cost`")
LINK = UI("http://host", "1").table_link("SWEEP")


def constant(module, name):
    """A constant of MLflow's, or None: some of its modules are not public."""
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("MLFLOW_RUN_NOTE", *note_tags("")),
        ("MLFLOW_GIT_COMMIT", COMMIT_TAG),
        ("MLFLOW_LOGGED_ARTIFACTS", *table_tags("cells.json")),
        ("MLFLOW_DATASET_CONTEXT", "mlflow.data.context"),
        *zip(
            ("MLFLOW_USER", "MLFLOW_SOURCE_NAME", "MLFLOW_SOURCE_TYPE", "MLFLOW_PARENT_RUN_ID"),
            run_tags("parent"),
            strict=True,
        ),
    ],
)
def test_mlflow_still_reads_our_tags(name, tag):
    found = constant("mlflow.utils.mlflow_tags", name)
    assert found == tag, f"MLflow {mlflow.__version__}: {name} is {found!r}, harness.store writes {tag!r}"


@pytest.fixture(scope="module")
def user_interface():
    """The JavaScript of MLflow's UI, as it is installed."""
    scripts = Path(mlflow.__file__).parent.glob("server/js/build/static/js/**/*.js")
    return "\n".join(path.read_text(encoding="utf8") for path in scripts)


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        (VIEW_TAG.removesuffix("SWEEP"), "a sweep's table shows all runs"),
        *[(key, "a sweep's table loses this setting") for key in json.loads(VIEW)],
        *[(word, "a link opens another view") for word in ("workflowType", "machine_learning", "viewStateShareKey")],
        ("/experiments/:experimentId/runs/:runUuid", "a link to a run opens the start page"),
        ('"/runs/:runUuid"', "the address that a command prints opens the start page"),
        (*note_tags(""), "a run's description is not shown"),
        (*table_tags(""), "a table of cells is an ordinary file"),
    ],
)
def test_the_ui_still_knows_what_a_sweep_saves_for_it(user_interface, name, lost):
    assert LINK.startswith("http://host/#/experiments/1/runs?")
    assert name in user_interface, f"the UI of MLflow {mlflow.__version__} does not know {name!r}: {lost}"


@pytest.mark.parametrize("name", connection.DEFAULTS)
def test_mlflow_still_has_the_variables_that_we_set(name):
    """Without them MLflow sends telemetry, prints links, or retries for minutes while training waits."""
    variable = constant("mlflow.environment_variables", name)
    assert variable is not None, f"MLflow {mlflow.__version__} has no environment variable {name}"


def test_mlflow_reads_its_timeout_at_every_request(monkeypatch):
    """Read once only, a server that hangs would hold up training four times as long."""
    monkeypatch.setenv(connection.TIMEOUT, connection.DEFAULTS[connection.TIMEOUT])
    with connection.request_timeout(delivery.TRAINING_TIMEOUT):
        assert os.environ[connection.TIMEOUT] == "5"
        assert constant("mlflow.environment_variables", connection.TIMEOUT).get() == 5
    assert constant("mlflow.environment_variables", connection.TIMEOUT).get() == 20
    source = inspect.getsource(importlib.import_module("mlflow.utils.rest_utils").http_request)
    assert f"{connection.TIMEOUT}.get()" in source, "mlflow.utils.rest_utils.http_request reads its timeout elsewhere"


@pytest.mark.parametrize("code", sorted(connection.REFUSALS))
def test_mlflow_still_has_the_codes_of_its_refusals(code):
    """Under another code a refusal would be taken for an outage, and sent again for ever."""
    codes = constant("mlflow.protos.databricks_pb2", "ErrorCode")
    assert codes is not None, "mlflow.protos.databricks_pb2 has no ErrorCode"
    assert code in codes.keys(), f"MLflow {mlflow.__version__} has no error code {code}"  # noqa: SIM118


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("MAX_ENTITIES_PER_BATCH", delivery.MAX_ITEMS),
        ("MAX_METRICS_PER_BATCH", delivery.MOST["metrics"]),
        ("MAX_PARAMS_TAGS_PER_BATCH", delivery.MOST["params"]),
        ("MAX_PARAMS_TAGS_PER_BATCH", delivery.MOST["tags"]),
        ("MAX_DATASET_DIGEST_SIZE", writer.MAX_DIGEST),
    ],
)
def test_the_limits_of_mlflow_are_still_as_large(name, ours):
    """With smaller ones MLflow would refuse what we send, and with it the run."""
    found = constant("mlflow.utils.validation", name)
    assert found == ours, f"MLflow {mlflow.__version__}: {name} is {found}, harness.store sends up to {ours}"
