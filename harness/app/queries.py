"""The verb `query`: what a store holds, as tidy rows for programs; reads only."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.analysis import SweepData, answer
from harness.app.command import AS_JSON, say
from harness.app.ending import Result
from harness.app.options import FILE, TABLE, TABLES, check_new, split_options
from harness.config import ConfigError, did_you_mean, visible
from harness.report import COMPARISON, comparisons, plain_rows
from harness.runs import check_run_id, find_run, load_runs
from harness.store import Store, check_exists

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

RUNS, CSV = "runs", "--csv"
COLUMNS = ("run_id", "kind", "name", "status", "started", "seconds", "cells", "study", "command")  # of the runs
FORMULA = re.compile(r"[=+\-@\t\r]")  # a spreadsheet takes a text that begins so for a formula, which may run a program
ENDINGS = {".csv": CSV, ".json": AS_JSON}  # of files
MEANING = "read: the rows are complete, and nothing was changed"


def query(words: Sequence[str], result: Result) -> int:
    """query [RUN ...] [--table cells|replicas|histories|answers|runs] [--csv | --json] [-o FILE]: rows for programs."""
    ids, options = split_options("query", words, [TABLE, FILE], [CSV])
    if CSV in options and result.as_json:
        raise ConfigError("query", "--csv or --json", "both")
    name = options.get(TABLE, "cells" if ids else RUNS)
    if name not in TABLES:
        raise ConfigError("query --table", f"{' | '.join(TABLES)}{_hint(name)}", name)
    if ids and name == RUNS:
        raise ConfigError("query --table runs", "no run ids, as it lists them", ids[0])
    for word in ids:
        check_run_id(word, "query")
    path = Path(options[FILE]) if FILE in options else None
    if path:
        _check_ending(path, AS_JSON if result.as_json else options.get(CSV))
        check_new("query -o", path)
    check_exists()
    table = _table(Store.open_to_read(), ids, name)
    _hand_over(table, name, path, result)
    return 0


def _check_ending(path: Path, asked: str | None) -> None:
    """Raises ConfigError for an ending that is unknown, or of another format than asked for."""
    known = [ending for ending, option in ENDINGS.items() if asked in (None, option)]
    if path.suffix and path.suffix.lower() not in known:
        with_it = f" (with {asked})" if asked else ""
        raise ConfigError("query -o", f"a name that ends in {' or '.join(known)}{with_it}", str(path))


def _hint(name: str) -> str:
    return f" ({hint})" if (hint := did_you_mean(name, TABLES).strip()) else ""


def _table(store: Store, ids: Sequence[str], name: str) -> "pd.DataFrame":
    if name == RUNS:
        return _runs(store)
    runs = [find_run(store, word, "query") for word in ids] or [_last(store)]
    data = load_runs(store, runs)
    return _answers(data) if name == "answers" else getattr(data, name)


def _last(store: Store) -> "Run":
    last = store.last(kind="sweep")
    if last is None:
        raise ConfigError("query", f"a run id, as {store.uri} has no sweep", None)
    say(f"query: the last sweep, {last.info.run_id} ({last.info.run_name})")
    return last


def _answers(data: SweepData) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(comparisons(answer(data)), columns=list(COMPARISON))


def _runs(store: Store) -> "pd.DataFrame":
    """Sweeps, and cells that are part of none, the newest first."""
    import pandas as pd

    found = [run for run in store.cells_and_sweeps() if not any(tag.startswith("sweep.") for tag in run.data.tags)]
    rows = [_run(run) for run in sorted(found, key=lambda run: -run.info.start_time)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _run(run: "Run") -> tuple[object, ...]:
    info, tags = run.info, run.data.tags
    started = datetime.fromtimestamp(info.start_time / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    seconds = (info.end_time - info.start_time) / 1000 if info.end_time else None
    about = (int(tags.get("cells", 1)), tags.get("study", ""), tags.get("command", ""))
    return info.run_id, tags["kind"], info.run_name, info.status, started, seconds, *about


def _hand_over(table: "pd.DataFrame", name: str, path: Path | None, result: Result) -> None:
    """Rows to a file or to standard output; with --json they are part of its object, or of the file's."""
    found = {"table": name, "columns": list(table), "rows": plain_rows(table)}
    if path is None:
        if result.as_json:
            result.values |= {"meaning": MEANING, **found}
        else:
            print(as_csv(table), end="")
        return
    as_json = result.as_json or ENDINGS.get(path.suffix.lower()) == AS_JSON
    _write(path, json.dumps(found, allow_nan=False) if as_json else as_csv(table))
    result.values |= {"meaning": MEANING, "table": name, "file": str(path), "n_rows": len(table)}
    say(f"Written: {path} ({len(table)} rows)")


def _write(path: Path, text: str) -> None:
    """A file that is new, whole or not there. Raises ConfigError."""
    made = False
    try:
        with path.open("x", encoding="utf8", errors="backslashreplace", newline="") as file:
            made = True
            file.write(text)
    except OSError as error:
        if made:
            path.unlink(missing_ok=True)
        raise ConfigError("query -o", "a file that can be written", f"{path}: {error.strerror}") from error


def as_csv(table: "pd.DataFrame") -> str:
    """The table as text, a line for each row: a line end within a text is \\n, and a text that would be a formula of a
    spreadsheet has ' in front. Numbers as Python writes them; empty: no value; inf: diverged or not reached.
    """
    if not len(table.columns):
        return ""
    texts = {column: own.map(_text) for column, own in table.items() if own.dtype.kind not in "fiub"}
    return str(table.assign(**texts).rename(columns=_text).to_csv(index=False, lineterminator="\n"))


def _text(value: object) -> object:
    if not isinstance(value, str):
        return value
    value = visible(value)
    return f"'{value}" if FORMULA.match(value) else value
