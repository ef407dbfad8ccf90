"""The user's own activations, losses, optimisers and so on, by name: files of the current folder, and packages.

`extensions/KIND/NAME.py` of the current folder defines NAME. An installed package offers the same as the entry point
NAME of the group `harness.KIND`. A configuration holds the name alone, never a path. See docs/extending.md.
"""

import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
FOLDER, MODULES, GROUPS = "extensions", "harness_extensions.", "harness."
NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")


class ExtensionError(ValueError):
    """An extension that cannot be used; the message is one line that says which and why."""


class Extension(NamedTuple):
    """What was found. digest: of its source code, which decides numbers."""

    thing: Any
    digest: str
    place: str


class Table(dict[str, T]):
    """What the package has of a kind, by name; table[name] finds extensions, too, loaded when they are asked for.

    fits: whether an object is of the kind; form: the same in words.
    """

    def __init__(self, kind: str, own: Mapping[str, T], fits: Callable[[Any], bool], form: str) -> None:
        super().__init__(own)
        self.kind, self._fits, self._form = kind, fits, form

    def __missing__(self, name: str) -> T:
        """Raises KeyError for an unknown name, ExtensionError for an extension that cannot be used."""
        found = self._extension(name)
        if not self._fits(found.thing):
            got = repr(found.thing) if isinstance(found.thing, int | float) else type(found.thing).__name__
            raise ExtensionError(f"{found.place}: expected {name} to be {self._form}, got {got}")
        return found.thing

    def digest(self, name: str) -> str:
        """Of the source of an extension; empty for what the package has, as its code is known otherwise."""
        return "" if name in self else self._extension(name).digest

    def names(self) -> list[str]:
        """Of all, the package's own first."""
        return [*self, *sorted(set(self._extensions()) - self.keys())]

    def knows(self, name: object) -> bool:
        return name in self or (isinstance(name, str) and name in self._extensions())

    def check_name(self, name: str) -> None:
        """Raises ExtensionError for an extension that would be hidden by something of the package."""
        if name in self and (place := _file(self.kind, name)).is_file():
            raise ExtensionError(f"{place}: expected a name that the harness does not have, got {name}")

    def _extensions(self) -> Iterator[str]:
        yield from (path.stem for path in Path(FOLDER, self.kind).glob("*.py") if NAME.fullmatch(path.stem))
        yield from (point.name for point in _offered(self.kind))

    def _extension(self, name: str) -> Extension:
        if not NAME.fullmatch(name):
            raise KeyError(name)
        if (path := _file(self.kind, name)).is_file():
            return _from_file(path.absolute(), f"{self.kind}.{name}")
        for point in _offered(self.kind):
            if point.name == name:
                return _from_package(point)
        raise KeyError(name)


def raised_by(error: BaseException) -> tuple[str, str] | None:
    """Kind of the extension whose code raised the error, and the line; None if no extension did."""
    for frame, line in reversed(list(walk_tb(error.__traceback__))):
        module = str(frame.f_globals.get("__name__"))
        if module.startswith(MODULES):
            kind, name = module.removeprefix(MODULES).split(".")
            return kind, f"{_file(kind, name).as_posix()}, line {line}"
        for group in entry_points().groups:
            if group.startswith(GROUPS) and any(point.module == module for point in entry_points(group=group)):
                return group.removeprefix(GROUPS), f"{module}, line {line}"
    return None


def _file(kind: str, name: str) -> Path:
    return Path(FOLDER, kind, f"{name}.py")


@cache
def _offered(kind: str) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=f"{GROUPS}{kind}"))


@cache
def _from_file(path: Path, name: str) -> Extension:
    """Run the file as it is now: this process runs no later code, so the digest stays true."""
    source, place = path.read_bytes(), f"{FOLDER}/{path.parent.name}/{path.name}"
    module = ModuleType(f"{MODULES}{name}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look there
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
        return Extension(getattr(module, path.stem), hashlib.sha256(source).hexdigest(), place)
    except (Exception, SystemExit) as error:
        raise ExtensionError(f"{place}: {in_a_line(error)}") from error


@cache
def _from_package(point: EntryPoint) -> Extension:
    place = f"entry point {point.name} of harness.{point.group.rpartition('.')[2]}"
    try:
        thing = point.load()
        source = Path(str(sys.modules[point.module].__file__)).read_bytes()
    except (Exception, SystemExit) as error:
        raise ExtensionError(f"{place}: {in_a_line(error)}") from error
    return Extension(thing, hashlib.sha256(source).hexdigest(), place)


def in_a_line(error: BaseException) -> str:
    """Its type and message."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
