"""Which functions may load a dataset, and which arguments a configuration may give them: an allow-list.

Functions of the user's own are those of `extensions/datasets`; as a configuration from a store may ask for them, they
take plain values only, like scikit-learn's. Some of scikit-learn's unpickle what they find in a folder, which can run
any code, or fetch an address. So no argument that is a path, an address, a place of a cache, an object or a function is
allowed, and what this version does not know is refused. The folder of downloads is the user's own: the environment
variable SCIKIT_LEARN_DATA names it.
"""

import inspect
import os
import pkgutil
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Number
from typing import Any

from harness.config import ConfigError
from harness.network import ExtensionError, Table

READ_FILE, MAKE_BLOCKS = "harness.data.files.read_file", "harness.data.blocks.make_blocks"
EXTENSION = "extensions."  # begins the address of a function of the user's own, whose name follows
DATASETS: Table[Callable[..., Any]] = Table("datasets", {}, callable, "a function that returns (X, y)")
OWN = (READ_FILE, MAKE_BLOCKS)  # of this project: all of their arguments
PREFIX = "sklearn.datasets."
BUNDLED = "return_X_y as_frame"
FETCHED = "download_if_missing return_X_y n_retries delay"
CURVE = "n_samples noise random_state"
FACES = "funneled resize color"
ARGUMENTS = {  # of the functions that return (X, y), without numbers in sparse matrices, texts or images
    "load_breast_cancer": BUNDLED,
    "load_diabetes": f"{BUNDLED} scaled",
    "load_digits": f"{BUNDLED} n_class",
    "load_iris": BUNDLED,
    "load_linnerud": BUNDLED,
    "load_wine": BUNDLED,
    "make_blobs": "n_samples n_features centers cluster_std center_box shuffle random_state return_centers",
    "make_circles": f"{CURVE} shuffle factor",
    "make_classification": "n_samples n_features n_informative n_redundant n_repeated n_classes n_clusters_per_class "
    "weights flip_y class_sep hypercube shift scale shuffle random_state return_X_y",
    "make_friedman1": f"{CURVE} n_features",
    "make_friedman2": CURVE,
    "make_friedman3": CURVE,
    "make_gaussian_quantiles": "mean cov n_samples n_features n_classes shuffle random_state",
    "make_hastie_10_2": "n_samples random_state",
    "make_moons": f"{CURVE} shuffle",
    "make_multilabel_classification": "n_samples n_features n_classes n_labels length allow_unlabeled sparse "
    "return_indicator return_distributions random_state",
    "make_regression": "n_samples n_features n_informative n_targets bias effective_rank tail_strength noise shuffle "
    "coef random_state",
    "make_s_curve": CURVE,
    "make_sparse_uncorrelated": "n_samples n_features random_state",
    "make_swiss_roll": f"{CURVE} hole",
    "fetch_california_housing": f"{FETCHED} as_frame",
    "fetch_covtype": f"{FETCHED} as_frame random_state shuffle",
    "fetch_kddcup99": f"{FETCHED} as_frame random_state shuffle subset percent10",
    "fetch_lfw_pairs": f"subset download_if_missing n_retries delay {FACES}",
    "fetch_lfw_people": f"{FETCHED} {FACES} min_faces_per_person",
    "fetch_olivetti_faces": f"{FETCHED} random_state shuffle",
    "fetch_openml": "name version data_id target_column cache return_X_y as_frame n_retries delay parser",
}
COLUMNS = "target_column"  # any text: it is compared with the names of columns and is no part of a path
WORD = re.compile(r"(?!\.+$)[\w.,()+= -]*")  # OpenML's names, which become part of a path, and scikit-learn's options


def resolve(target: object) -> Callable[..., Any]:
    """The function that `dataset.load._target_` names. Raises ConfigError for one that is not in the list."""
    if isinstance(target, str) and (name := target.removeprefix(EXTENSION)) != target and DATASETS.knows(name):
        return _extension(name)
    if not (isinstance(target, str) and (target in OWN or target.removeprefix(PREFIX) in _names(target))):
        raise ConfigError("dataset.load._target_", f"{functions()}, which return (X, y)", target)
    try:
        found: Callable[..., Any] = pkgutil.resolve_name(target)
    except (ImportError, AttributeError) as error:
        raise ConfigError("dataset.load._target_", "a function that exists in this scikit-learn", target) from error
    return found


def _extension(name: str) -> Callable[..., Any]:
    try:
        return DATASETS[name]
    except ExtensionError as error:
        raise ConfigError("dataset.load._target_", "an extension that can be used", str(error)) from error


def _names(target: str) -> tuple[str, ...]:
    return tuple(ARGUMENTS) if target.startswith(PREFIX) else ()


def functions() -> str:
    """The list in one line: sklearn.datasets.load_* (breast_cancer, ...) | make_* (...) | fetch_* (...) | ..."""
    groups: list[str] = []
    for kind in ("load", "make", "fetch"):
        names = ", ".join(name.partition("_")[2] for name in ARGUMENTS if name.startswith(f"{kind}_"))
        groups.append(f"{PREFIX if not groups else ''}{kind}_* ({names})")
    return " | ".join((*groups, *OWN, *(f"{EXTENSION}{name}" for name in DATASETS.names())))


def check_arguments(target: str, function: Callable[..., Any], given: dict[str, Any]) -> None:
    """Raises ConfigError for an argument that the list does not have, and for a value that is no plain one."""
    own, listed = target in OWN, ARGUMENTS.get(target.removeprefix(PREFIX))
    allowed = list(inspect.signature(function).parameters) if listed is None else listed.split()
    for name, value in given.items():
        if name not in allowed:
            expected = f"an argument that {target} may be given ({', '.join(allowed)}){_instead(name)}"
            raise ConfigError(f"dataset.load.{name}", expected, value)
        if not own and name != COLUMNS and not _plain(value):
            raise ConfigError(f"dataset.load.{name}", "numbers, truth values, null or a name without / \\ :", value)


def _instead(name: str) -> str:
    """What to do in place of the refused argument that is asked for most."""
    return "; the environment variable SCIKIT_LEARN_DATA names the folder" if name == "data_home" else ""


def _plain(value: object) -> bool:
    """Whether a value is null, a number, a truth value, a word, or a list of such."""
    if isinstance(value, list | tuple):
        return all(map(_plain, value))
    return value is None or isinstance(value, Number) or (isinstance(value, str) and bool(WORD.fullmatch(value)))


def check_stored_path(load: dict[str, Any]) -> None:
    """Of a configuration from a store: its `path` is that of an ordinary file, so opening it neither waits nor acts.

    A pipe or a device may block for ever, and the address of a share (//host/...) makes some systems log in there.
    Raises ConfigError. A file that is missing is left to the reader's message.
    """
    if load.get("_target_") != READ_FILE:
        return
    path = load.get("path")
    try:
        regular = isinstance(path, str) and not path.startswith(("//", "\\\\")) and _is_regular(path)
    except ValueError:  # a null byte
        regular = False
    if not regular:
        raise ConfigError("dataset.load.path", "an ordinary file of this machine, as the run comes from a store", path)


def _is_regular(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(os.path.expanduser(path)).st_mode)
    except OSError:
        return True


@contextmanager
def offline() -> Iterator[None]:
    """While it lasts, urllib, with which scikit-learn downloads, raises URLError in place of opening a connection."""
    import urllib.request
    from urllib.error import URLError

    class Refuse(urllib.request.BaseHandler):
        def default_open(self, _: object) -> None:
            raise URLError("nothing is downloaded for a run of a store; dry_run=true with its dataset fetches it")

    before = getattr(urllib.request, "_opener", None)  # not documented; None is Python's own
    opener = urllib.request.OpenerDirector()
    opener.add_handler(Refuse())
    urllib.request.install_opener(opener)
    try:
        yield
    finally:
        urllib.request.install_opener(before)
