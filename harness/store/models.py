"""Writes a network as a standard MLflow model, a folder; nothing of the harness is needed to load it, nor pickled."""

import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.network import Array

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

CODE = Path(__file__).with_name("network_model.py")
ACTIVATIONS = ("sigmoid", "tanh", "relu", "identity")  # that the code of a model has
LOSSES = ("sigmoid_cross_entropy", "softmax_cross_entropy", "half_squared_error")
NEEDS = ("numpy", "pandas", "mlflow")  # as they are here; Python's version is written by MLflow
TYPES = {"number": "double", "yes/no": "boolean", "category": "string", "date": "datetime", "duration": "string"}
EXAMPLES = {"yes/no": True, "duration": "0 days 01:00:00"}  # of kinds whose mean is no example


def save_model(
    folder: Path, recipe: Mapping[str, Any], weights: Mapping[str, Array], activation: str, loss: str, **about: Any
) -> None:
    """Write the model of one replica into a new folder.

    recipe: see `harness.data.recipe`. weights: W0 (n_in, n_out), b0 (n_out,), W1, ... about: metadata of the model.
    """
    names = recipe["classes"]
    integers = bool(names) and all(name.lstrip("-").isdecimal() and str(int(name)) == name for name in names)
    whole = {**recipe, "activation": activation, "loss": loss, "integer_classes": integers}
    with tempfile.TemporaryDirectory() as scratch, _quiet():
        import mlflow.pyfunc

        code = Path(shutil.copy(CODE, scratch))  # MLflow writes down where it was
        files = {"recipe": Path(scratch, "recipe.json"), "weights": Path(scratch, "weights.npz")}
        files["recipe"].write_text(json.dumps(whole, ensure_ascii=False), encoding="utf8")
        arrays: dict[str, Any] = dict(weights)
        np.savez(files["weights"], **arrays)
        mlflow.pyfunc.save_model(
            path=str(folder),
            python_model=str(code),
            artifacts={name: str(path) for name, path in files.items()},
            signature=_signature(whole),
            input_example=_example(whole),
            pip_requirements=[f"{name}=={version(name)}" for name in NEEDS],
            metadata=about,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """MLflow advises on how models may be written otherwise."""
    logger = logging.getLogger("mlflow")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _signature(recipe: Mapping[str, Any]) -> "ModelSignature":
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    if recipe["named"]:
        inputs = Schema([ColSpec(_type(c), c["name"], required=not c["may_miss"]) for c in recipe["columns"]])
    else:
        inputs = Schema([TensorSpec(np.dtype(np.float64), (-1, recipe["n_columns"]))])
    return ModelSignature(inputs, Schema([ColSpec(kind, name) for name, kind in _outputs(recipe)]))


def _type(column: Mapping[str, Any]) -> str:
    """Integers are "long" unless there are gaps, with which pandas makes floats of them."""
    return "long" if column["whole"] and not column["may_miss"] else TYPES[column["kind"]]


def _outputs(recipe: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    if names := recipe["classes"]:
        label = "long" if recipe["integer_classes"] else "string"
        return [("prediction", label), *((f"probability_{name}", "double") for name in names)]
    n_outputs = len(recipe["target"]["mean"])
    return [("prediction" if n_outputs == 1 else f"prediction_{k}", "double") for k in range(n_outputs)]


def _example(recipe: Mapping[str, Any]) -> "pd.DataFrame | Array":
    """One row that is no row of the data: means of the training part, first levels."""
    import pandas as pd

    if recipe["named"]:
        return pd.DataFrame({column["name"]: [_typical(recipe, column)] for column in recipe["columns"]})
    row = np.zeros((1, recipe["n_columns"]))
    for column in recipe["columns"]:
        row[0, column["place"]] = recipe["mean"][column["input"]]
    return row


def _typical(recipe: Mapping[str, Any], column: Mapping[str, Any]) -> Any:
    import pandas as pd

    if column["kind"] == "category":
        return column["levels"][0]
    if column["kind"] in EXAMPLES:
        return EXAMPLES[column["kind"]]
    mean = recipe["mean"][column["input"]]
    if column["kind"] == "date":
        return pd.Timestamp("1970-01-01") + pd.Timedelta(days=round(mean))
    return round(mean) + column["smallest"] if _type(column) == "long" else mean
