"""The form in which the harness writes a run and its tags: whatever else a store or an archive says was changed."""

import json
import os
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

from harness.config import ConfigError
from harness.store.hosts import check_place, is_allowed
from harness.store.places import path_of

if TYPE_CHECKING:
    from mlflow.entities import Run

    from harness.store.client import Client

TABLES, WEIGHTS = ("history.csv", "replicas.csv"), "weights.npz"  # of a cell: files that a finished run has
MOST_LOOKS = 100
AGAIN = "(`rerun=all` trains its cell again)"


def _texts(text: str) -> bool:
    """A JSON object of texts."""
    found = json.loads(text)
    return isinstance(found, dict) and all(isinstance(value, str) for value in found.values())


def _lines(text: str) -> bool:
    found = json.loads(text)
    return isinstance(found, list) and all(isinstance(line, str) for line in found)


def _looks(text: str) -> bool:
    """Numbers of replicas in ascending order."""
    if not re.fullmatch(r"[1-9]\d{0,8}( [1-9]\d{0,8})*", text):
        return False
    numbers = list(map(int, text.split()))
    return len(numbers) <= MOST_LOOKS and all(one < other for one, other in pairwise(numbers))


TAGS: dict[str, tuple[Callable[[str], bool], str]] = {  # tag -> whether a value has its form, and the form
    "signature": (lambda text: bool(re.fullmatch(r"\w{1,64}", text, re.ASCII)), "letters and digits"),
    "code": (lambda text: bool(re.fullmatch(r"\w{1,64}", text, re.ASCII)), "letters and digits"),
    "arithmetic": (_texts, "a JSON object of texts"),
    "looks": (_looks, "numbers of replicas in ascending order"),
    "data_notes": (_lines, "a JSON list of texts"),
}


def odd_tag(tags: Mapping[str, str]) -> tuple[str, str, object] | None:
    """The first tag that is not as the harness writes it: its key, what is allowed, what came; None without one."""
    if tags.get("kind") == "cell" and "signature" not in tags:
        return "tag signature", "that of a cell", None
    for key, (has_form, allowed) in TAGS.items():
        if key in tags and not _holds(has_form, tags[key]):
            return f"tag {key}", allowed, tags[key]
    return None


def _holds(has_form: Callable[[str], bool], text: str) -> bool:
    try:
        return has_form(text)
    except (ValueError, RecursionError):  # of a parser
        return False


def odd_field(run: "Run") -> tuple[str, str, object] | None:
    """The same of a run that a store gives."""
    info = run.info
    if not isinstance(info.run_name, str):
        return "name", "a text", info.run_name
    if type(info.start_time) is not int:
        return "start_time", "milliseconds since 1970", info.start_time
    return odd_tag(run.data.tags)


def is_sound(run: "Run", store_uri: str) -> bool:
    """Whether the run's artifacts may be opened, and all that is read of it has its form."""
    return is_allowed(run.info.artifact_uri, store_uri) and odd_field(run) is None


def check_run(run: "Run", store_uri: str) -> None:
    """Raises ConfigError for a run that is not sound."""
    check_place(f"run {run.info.run_id}", run.info.artifact_uri, store_uri)
    if odd := odd_field(run):
        what, allowed, value = odd
        raise ConfigError(f"run {run.info.run_id}: {what}", f"{allowed}, as the harness writes it {AGAIN}", value)


def lost_file(client: "Client", run_id: str, place: str) -> str:
    """A table of a finished cell that is missing or empty, or weights that are empty; empty text if it is whole.

    place: of its artifacts. A power cut may have emptied them, if an earlier version wrote the run. Raises what MLflow
    raises.
    """
    sizes = _sizes(client, run_id, place)
    lost = [name for name in TABLES if sizes.get(name, 0) == 0] + ([WEIGHTS] if sizes.get(WEIGHTS) == 0 else [])
    return lost[0] if lost else ""


def _sizes(client: "Client", run_id: str, place: str) -> dict[str, int | None]:
    """Bytes of the files above that are there; None if the store does not know."""
    folder = path_of(place)
    if not folder:
        return {item.path: item.file_size for item in client.list_files(run_id, place)}
    paths = {name: os.path.join(folder, name) for name in (*TABLES, WEIGHTS)}
    return {name: os.path.getsize(path) for name, path in paths.items() if os.path.isfile(path)}
