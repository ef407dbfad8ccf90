"""scikit-learn's bundled datasets and their parts, kept: its import takes longer than the training of a small cell.

They are made anew for other versions, another source of this package, or a processor with other instructions.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.config import DatasetConfig, keep, kept_place
from harness.data.checks import Dataset, digest_of
from harness.data.columns import Doubt
from harness.data.inputs import Column
from harness.data.preparation import Scaler

LOADERS = {
    f"sklearn.datasets.load_{name}": name
    for name in ("breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine")
}
LIBRARIES = ("numpy", "pandas", "scikit-learn")
SCALES = ("mean_", "scale_")  # of a Scaler
MOST_PARTS = 200  # of a dataset that are kept: at most some megabytes


@dataclass(frozen=True, eq=False)
class Parts:
    """Row numbers of the training, validation and test examples, and what was fitted on the training part.

    transformer: of X; see `preparation`. target_scaler: of a regression's y.
    """

    rows: Sequence[NDArray[np.intp]]
    transformer: Any
    target_scaler: Scaler | None


def kept_dataset(config: DatasetConfig, make: Callable[[], Dataset]) -> Dataset:
    """`make()`, or what it has returned before for this configuration of a bundled dataset."""
    name = LOADERS.get(str(config.load.get("_target_")))
    if name is None:
        return make()
    place = kept_place(f"dataset_{name}.npz", repr(config), *_versions())
    with suppress(Exception):  # it is not there, or not whole
        return _read_dataset(place)
    dataset = replace(make(), kept_as=name)
    with suppress(OSError):
        keep(place, lambda new: _write_dataset(new, dataset))
    return dataset


def kept_parts(
    dataset: Dataset, fractions: tuple[float, float], states: Sequence[int], make: Callable[[int], Parts]
) -> Iterator[Parts]:
    """`make` of each of these states of the random generator, or what it has returned before."""
    if not dataset.kept_as:
        yield from map(make, states)
        return
    place, known = kept_place(f"parts_{dataset.kept_as}.npz", dataset.digest, repr(fractions), *_versions()), {}
    with suppress(Exception):  # as above
        known = _read_parts(place, len(dataset.y))
    found = {state: known.get(state) or make(state) for state in dict.fromkeys(states)}
    can_be_kept = len(found) <= MOST_PARTS and all(isinstance(one.transformer, Scaler) for one in found.values())
    if can_be_kept and not found.keys() <= known.keys():
        more = known if len(known) + len(found) <= MOST_PARTS else {}
        with suppress(OSError):
            keep(place, lambda new: _write_parts(new, more | found))
    yield from map(found.__getitem__, states)


@cache
def _versions() -> tuple[str, ...]:
    """Of all that decides the bits."""
    sources = b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))
    instructions = np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", [])
    return *(version(name) for name in LIBRARIES), *instructions, sha256(sources).hexdigest()


def _write_dataset(file: Path, dataset: Dataset) -> None:
    about = {name: value for name, value in vars(dataset).items() if name not in ("X", "y")}
    about["columns"] = [asdict(column) for column in dataset.columns]
    about["notes"] = [(isinstance(note, Doubt), note) for note in dataset.notes]
    with file.open("wb") as stream:
        np.savez(stream, X=dataset.X, y=dataset.y, about=np.frombuffer(json.dumps(about).encode(), np.uint8))


def _read_dataset(file: Path) -> Dataset:
    """Raises what NumPy, zipfile and JSON raise for a file that is not whole."""
    with file.open("rb") as stream, np.load(stream) as kept:
        X, y, about = kept["X"], kept["y"], json.loads(kept["about"].tobytes())
    about["class_names"] = tuple(about["class_names"])
    about["columns"] = tuple(Column(**own | {"levels": tuple(own["levels"])}) for own in about["columns"])
    about["notes"] = tuple(Doubt(text) if doubted else text for doubted, text in about["notes"])
    if about["digest"] != digest_of(X, y, about["columns"]):
        raise ValueError(file)
    return Dataset(X=X, y=y, **about)


def _write_parts(file: Path, parts: Mapping[int, Parts]) -> None:
    every, no_target = list(parts.values()), Scaler(np.empty(0), np.empty(0))
    arrays: dict[str, Any] = {
        "states": list(parts),
        "sizes": [len(rows) for rows in every[0].rows],
        "rows": [np.concatenate(one.rows) for one in every],
    }
    for name in SCALES:
        arrays[f"X_{name}"] = [getattr(one.transformer, name) for one in every]
        arrays[f"Y_{name}"] = [getattr(one.target_scaler or no_target, name) for one in every]
    with file.open("wb") as stream:
        np.savez(stream, **arrays)


def _read_parts(file: Path, n: int) -> dict[int, Parts]:
    """Raises what NumPy, zipfile and JSON raise for a file that is not whole."""
    with file.open("rb") as stream, np.load(stream) as kept:
        states, sizes, rows = (kept[name] for name in ("states", "sizes", "rows"))
        of_X, of_Y = (list(map(Scaler, kept[f"{of}_mean_"], kept[f"{of}_scale_"])) for of in "XY")
    if rows.shape != (len(states), n):
        raise ValueError(file)
    parts = [np.split(own, np.cumsum(sizes)[:-1]) for own in rows]
    scalers = [own if own.mean_.size else None for own in of_Y]
    return dict(zip(states.tolist(), map(Parts, parts, of_X, scalers), strict=True))
