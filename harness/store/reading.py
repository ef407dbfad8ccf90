"""Reads the files of a finished cell's run, which may come from anywhere: nothing that is read here can run code."""

import json
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import yaml

from harness.config import Config, ConfigError, config_from, visible
from harness.network import Parameters
from harness.store.forms import odd_tag
from harness.store.provenance import ARITHMETIC
from harness.training import Fingerprint

if TYPE_CHECKING:
    import pandas as pd

    from harness.store.tracking import Store

MOST_YAML, MOST_JSON = 1 << 18, 1 << 28  # bytes; a configuration has some thousand, a grid a thousand for each cell
DEEPEST = 30  # brackets within brackets
COLUMNS_HEAD = "column,kind,"  # what columns.csv begins with
TEXT = ("digest", "outcome")  # columns of tables; a digest may look like a number

Fingerprints = dict[tuple[int, int], Fingerprint]  # by update and replica


class FinishedRun(NamedTuple):
    """What the store holds of a finished cell. parameters: the final ones of every replica."""

    label: str
    tags: dict[str, str]
    config: Config
    environment: dict[str, Any]
    fingerprints: Fingerprints
    history: "pd.DataFrame"
    parameters: Parameters
    columns: str  # the text of columns.csv


def read_run(store: "Store", run: Any) -> FinishedRun:
    """Raises ConfigError for the first file that is missing or that this version would not write."""
    tags = dict(run.data.tags)
    if "data_digest" not in tags:
        raise ConfigError("verify", "a run with the tag data_digest (older versions wrote none)", run.info.run_name)
    with tempfile.TemporaryDirectory() as folder:
        return FinishedRun(visible(run.info.run_name), tags, *(_read(store, run, name, Path(folder)) for name in FILES))


def stored_yaml(path: Path) -> Any:
    """The plain values in a YAML file. Raises ValueError, for aliases too: a few of them can stand for gigabytes."""
    text = _text(path, MOST_YAML)
    try:
        _refuse_bombs(text)
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"no plain YAML: {first_line(error)}") from error


def _refuse_bombs(text: str) -> None:
    """Aliases, and brackets in brackets, which take PyYAML a time that grows with the square."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("YAML with aliases")
        starts, ends = yaml.CollectionStartEvent, yaml.CollectionEndEvent
        depth += isinstance(event, starts) - isinstance(event, ends)
        if depth > DEEPEST:
            raise ValueError("YAML that is nested too deeply")


def stored_json(path: Path) -> Any:
    """The values in a JSON file. Raises ValueError."""
    try:
        found = json.loads(_text(path, MOST_JSON))
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply") from error
    _refuse_deep(found, DEEPEST)
    return found


def _refuse_deep(tree: Any, most: int) -> None:
    if not isinstance(tree, dict | list):
        return
    if most == 0:
        raise ValueError("JSON that is nested too deeply")
    for branch in tree.values() if isinstance(tree, dict) else tree:
        _refuse_deep(branch, most - 1)


def _text(path: Path, most: int) -> str:
    if (size := path.stat().st_size) > most:
        raise ValueError(f"{size} bytes, more than the {most} that are read")
    return path.read_text(encoding="utf8")


def first_line(error: Exception) -> str:
    """The first line of its message, or its type's name if it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _read(store: "Store", run: Any, name: str, folder: Path) -> Any:
    allowed = f"a file that run {run.info.run_id} left when it finished"
    try:
        path = store.download(run, name, folder)
        allowed = "a file as this version writes it"
        return FILES[name](path)
    except ConfigError:
        raise
    except Exception as error:  # MLflow's own; or whatever the parser of a file that is not ours may raise
        raise ConfigError(name, allowed, first_line(error)) from error


def _environment(path: Path) -> dict[str, Any]:
    found = dict(stored_json(path))
    if odd := odd_tag({ARITHMETIC: json.dumps(found[ARITHMETIC])} if ARITHMETIC in found else {}):
        raise ValueError(f"{ARITHMETIC} that is not {odd[1]}")
    return found


def _fingerprints(path: Path) -> Fingerprints:
    rows = _table(path)[["update", "replica", "digest", "norm"]].itertuples(index=False)
    return {(update, replica): Fingerprint(replica, digest, float(norm)) for update, replica, digest, norm in rows}


def _history(path: Path) -> "pd.DataFrame":
    table = _table(path)
    if missing := {"train_cost", "outcome"} - set(table):
        raise ValueError(f"no column {', '.join(sorted(missing))}")
    return table


def _table(path: Path) -> "pd.DataFrame":
    """Numbers as Python reads them, exactly (pandas rounds in some versions), and the columns of TEXT as they are."""
    import pandas as pd

    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if table.empty:
        raise ValueError("no rows")
    numbers = {name: [float(text or "nan") for text in table[name]] for name in table if name not in TEXT}
    return table.assign(**numbers).astype({"update": int, "replica": int})


def _parameters(path: Path) -> Parameters:
    """Floats only: an array of objects would have to be unpickled, and that can run any code.

    Packed arrays are refused: this version packs none, and a few bytes can unpack to any number of them.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as members:
            if packed := [one.filename for one in members.infolist() if one.compress_type != zipfile.ZIP_STORED]:
                raise ValueError(f"packed arrays: {', '.join(packed)}")
    stored = np.load(path, allow_pickle=False)
    if not isinstance(stored, np.lib.npyio.NpzFile):
        raise ValueError("one array in place of W0, b0, ...")
    with stored:
        arrays = {name: stored[name] for name in stored}
    if others := [f"{name} of {array.dtype}" for name, array in arrays.items() if array.dtype.kind != "f"]:
        raise ValueError(f"no floats: {', '.join(others)}")
    layers = range(len(arrays) // 2)
    return Parameters.from_weights([arrays[f"W{i}"] for i in layers], [arrays[f"b{i}"] for i in layers])


def _columns(path: Path) -> str:
    text = path.read_bytes().decode("utf8")
    if not text.startswith(COLUMNS_HEAD):
        raise ValueError(f"no table that begins with {COLUMNS_HEAD}")
    return text


FILES: dict[str, Callable[[Path], Any]] = {
    "config.yaml": lambda path: config_from(stored_yaml(path)),
    "environment.json": _environment,
    "fingerprints.csv": _fingerprints,
    "history.csv": _history,
    "weights.npz": _parameters,
    "columns.csv": _columns,
}  # in the order of FinishedRun's fields
