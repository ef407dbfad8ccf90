"""The tables of finished cells, read from the store as anybody's: what is no table of this version is refused."""

import io
import tempfile
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from harness.config import ConfigError
from harness.store import Store, first_line
from harness.training import Outcome

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

TOGETHER = 1000  # tables that are in memory as texts
COSTS = ("train_cost", "validation_cost")
NEEDED = {  # columns
    "history.csv": ("replica", "update", "epoch", "examples", "train_seconds", *COSTS, "outcome"),
    "replicas.csv": ("replica", "outcome", "end_update", "last_finite_cost", *(f"final_{cost}" for cost in COSTS)),
    "batch_costs.csv": ("update", "replica", "batch_cost", "epoch"),
}
COUNTS = ("update", "replica", "end_update", "examples")
OUTCOMES = ("", *map(str, Outcome))
Read: TypeAlias = "pd.DataFrame | ConfigError"


def cell_tables(store: Store, run: "Run", *names: str) -> "list[pd.DataFrame]":
    """Tables of a finished cell by their names, without .csv. Raises ConfigError for other files."""
    found: list[pd.DataFrame] = []
    for name in names:
        (table,) = read_tables(store, [run], name)
        if isinstance(table, ConfigError):
            raise table
        found.append(table)
    return found


def read_tables(store: Store, runs: "Sequence[Run]", name: str) -> "list[Read]":
    """The table of this name of each finished cell, or why it cannot be read.

    Tables of the same columns are parsed together, as a parser takes longer to begin than to read a small one.
    """
    read: list[Read] = []
    for i in range(0, len(runs), TOGETHER):
        texts = _texts(store, runs[i : i + TOGETHER], f"{name}.csv")
        found: dict[int, Read] = {place: text for place, text in enumerate(texts) if isinstance(text, ConfigError)}
        alike: dict[str, dict[int, str]] = {}
        for place, text in enumerate(texts):
            if isinstance(text, str):
                alike.setdefault(text.partition("\n")[0], {})[place] = text
        for own in alike.values():
            found |= zip(own, _parsed(list(own.values()), f"{name}.csv"), strict=True)
        read += [found[place] for place in range(len(texts))]
    return read


def _texts(store: Store, runs: "Sequence[Run]", file: str) -> list[str | ConfigError]:
    """The file of each run, or why it is no text; from a server several at a time."""

    def read(run: "Run") -> str | ConfigError:
        path = store.download(run, file, Path(scratch, run.info.run_id))
        try:
            return path.read_text(encoding="utf8")
        except PermissionError as error:
            return ConfigError(file, "a file that may be read", error.strerror)
        except (OSError, ValueError) as error:
            return _refusal(file, error)

    with tempfile.TemporaryDirectory() as scratch:
        return store.ask_for_each(read, runs)


def _parsed(texts: Sequence[str], file: str) -> "list[Read]":
    """The tables of texts with the same first line: one parse of all, unless a text may reach into the next one."""
    n_rows = [text.count("\n") - 1 for text in texts]
    if len(texts) > 1 and not any('"' in text or not text.endswith("\n") for text in texts):
        whole = _table("".join([texts[0], *(text.partition("\n")[2] for text in texts[1:])]), file)
        if not isinstance(whole, ConfigError) and len(whole) == sum(n_rows) and min(n_rows) > 0:
            ends = accumulate(n_rows)
            return [whole.iloc[end - n : end].reset_index(drop=True) for end, n in zip(ends, n_rows, strict=True)]
    return [_table(text, file) for text in texts]


def _table(text: str, file: str) -> "Read":
    import pandas as pd

    try:
        table = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=["", "nan"], low_memory=False)
        if "outcome" in table:
            table["outcome"] = table["outcome"].fillna("")
        _check(table, file)
        return table
    except (LookupError, TypeError, ValueError) as error:
        return _refusal(file, error)


def _check(table: "pd.DataFrame", file: str) -> None:
    """Every column is one of numbers but `outcome`; answers compute with any of them. Raises ValueError."""
    if missing := [name for name in NEEDED[file] if name not in table]:
        raise ValueError(f"no column {', '.join(missing)}")
    if file != "batch_costs.csv" and table.empty:
        raise ValueError("no rows")
    for name in table:
        kind = table[name].dtype.kind
        if name == "outcome" and not table[name].isin(OUTCOMES).all():
            raise ValueError("another outcome than " + ", ".join(filter(None, OUTCOMES)))
        if name in COUNTS and len(table) and not (kind == "i" and table[name].min() >= 0):
            raise ValueError(f"{name} that is no integer >= 0")
        if name != "outcome" and len(table) and kind not in "iuf":
            raise ValueError(f"{name} that is no number")


def _refusal(file: str, error: Exception) -> ConfigError:
    return ConfigError(file, "a table as this version writes it (rerun=all trains the cell again)", first_line(error))
