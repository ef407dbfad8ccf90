"""How functions become machine code, and where it is kept: Numba and the disk.

Python calls an `entry_point`; everything that it calls is a part, inlined there. Numba would optimise each part by
itself, for every combination of constants that it is called with, turn it into machine code that nobody calls, and do
all of it again where the part is inlined: four fifths of the time of a first use. Here a part is typed once, and
optimised as a piece of its entry points only. Of activations, losses and rules, the one in use is compiled: a `Choice`
is a type of its own.
"""

import hashlib
import operator
import os
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from inspect import Parameter, Signature, signature
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numba
from numba.core import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Flags, compile_internal
from numba.core.datamodel import models
from numba.core.imputils import lower_constant
from numba.core.registry import cpu_target
from numba.extending import NativeValue, intrinsic, overload, register_model, unbox

from harness.network import reduction

Function = Callable[..., Any]
SOURCES = (reduction.__file__, *map(str, sorted(Path(__file__).parent.glob("*.py"))))
KEPT_SECONDS = 3600  # for the cache of other sources: whoever compiles them now may still write to it

# IEEE semantics but for one thing: a b + c may be rounded once (fused). x / 0 is inf, as in NumPy. References to arrays
# are not counted, which would take a third of a small update: nothing here allocates an array.
OPTIONS = {"error_model": "numpy", "fastmath": {"contract"}, "_nrt": False}


def cache_directory() -> Path | None:
    """Another one whenever a source changes: Numba watches the file of an entry point, not those of what it calls.

    Where the sources cannot be written to, it is the user's; None if that cannot be, either: nothing is kept then.
    Numba's own choice of another place would be the same for all sources. Within the directory, Numba keeps processors
    apart, and overwrites what another version of Numba made.
    """
    digest = hashlib.sha256(b"".join(Path(file).read_bytes() for file in SOURCES)).hexdigest()[:16]
    beside, of_user = Path(__file__).parent / "__pycache__", os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    places = (Path(numba.config.CACHE_DIR or beside), Path(os.path.expanduser(of_user), "harness"))
    folders = (place.absolute() / f"compiled-{digest}" for place in places if place.parts[0] != "~")  # ~: no home
    return next(filter(_takes_files, folders), None)


def _takes_files(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


CACHE = cache_directory()


def remove_old_caches() -> None:
    """Machine code of other sources, unless somebody wrote to it within the hour; only when there is none of these."""
    if CACHE is None or any(CACHE.rglob("*.nbc")):
        return
    for other in set(CACHE.parent.glob("compiled-" + "[0-9a-f]" * 16)) - {CACHE}:
        with suppress(OSError):  # another process removes it at the same time
            files = [file for file in other.rglob("*") if file.is_file()]
            if all(file.stat().st_mtime < time.time() - KEPT_SECONDS for file in files):
                shutil.rmtree(other)


def has_feature(name: str) -> bool:
    """Whether the processor has it, by LLVM's name, and Numba may use it."""
    return f"+{name}" in cpu_target.target_context.codegen().magic_tuple()[2].split(",")


def entry_point(function: Function) -> Function:
    """What Python calls: compiled at its first call with certain types, and kept in CACHE."""
    elsewhere, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(CACHE or "")
    try:
        return numba.njit(cache=CACHE is not None, nogil=True, no_cfunc_wrapper=True, **OPTIONS)(function)
    finally:
        numba.config.CACHE_DIR = elsewhere


def operation(typed: Function) -> Function:
    """An operation in terms of LLVM, for compiled functions; typed: (context, types of its arguments) -> signature."""

    def decorated(generate: Function) -> Function:
        def signature_and_code(*arguments: Any) -> Any:
            return typed(*arguments), generate

        return _callable(generate, list(signature(typed).parameters)[1:], signature_and_code)

    return decorated


def compiled(function: Function, **options: Any) -> Function:
    """Part of an `entry_point`, inlined there.

    Without inlining, a part that two entry points call would be one or the other's copy, whichever was loaded first,
    and the two may fuse differently: the bits would depend on what ran before.
    """
    part = {"nopython": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "forceinline": True}

    def signature_and_code(typing: Any, *arguments: Any) -> Any:
        flags = cpu_target.options.parse_as_flags(Flags(), OPTIONS | part | options)
        flags.no_compile = True
        target = cpu_target.target_context
        library = PartLibrary(target.codegen(), function.__name__)
        result = compile_internal(typing, target, library, function, arguments, None, flags, {})

        def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
            context.active_code_library.add_linking_library(library)
            return context.call_internal(builder, result.fndesc, result.signature, values)

        return result.signature, generate

    return _callable(function, signature(function).parameters, signature_and_code)


def chosen(parts: dict[str, Function]) -> Function:
    """The part that a `Choice`, the first argument, names: only that one is compiled."""

    def signature_and_code(typing: Any, choice: Any, *arguments: Any) -> Any:
        part = typing.resolve_value_type(parts[choice.choice])
        own = part.get_call_type(typing, arguments, {})

        def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
            return context.get_function(part, own)(builder, values[1:])

        return own.return_type(choice, *arguments), generate

    first = next(iter(parts.values()))
    return _callable(first, ["choice", *list(signature(first).parameters)[1:]], signature_and_code)


def _callable(named: Function, arguments: Iterable[str], signature_and_code: Function) -> Function:
    """What compiled functions can call; signature_and_code: (context, types of its arguments) -> both."""
    parameters = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ("typing", *arguments)]
    signature_and_code.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # Numba reads it
    signature_and_code.__name__, signature_and_code.__doc__ = named.__name__, named.__doc__
    signature_and_code.__wrapped__ = named  # type: ignore[attr-defined]
    return intrinsic(signature_and_code)


class PartLibrary(JITCodeLibrary):  # type: ignore[misc]
    """Code of a part: linked into that of entry points, where it is optimised and becomes machine code."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class Choice:
    """An argument of an entry point whose value is its type: for each, the entry point is compiled anew."""

    def __init__(self, name: str) -> None:
        self._numba_type_ = ChoiceType(name)  # Numba's dispatcher looks here first, in C


class ChoiceType(types.Type):
    def __init__(self, choice: str) -> None:
        self.choice = choice
        super().__init__(name=f"Choice({choice})")


register_model(ChoiceType)(models.OpaqueModel)


@unbox(ChoiceType)  # type: ignore[untyped-decorator]
def _unbox_choice(_: Any, __: Any, context: Any) -> Any:
    return NativeValue(context.context.get_dummy_value())


@lower_constant(ChoiceType)  # type: ignore[untyped-decorator]
def _choice_in_compiled_code(context: Any, _: Any, __: Any, ___: Any) -> Any:
    return context.get_dummy_value()


def _is_named(choice: types.Type, name: types.Type) -> Function | None:
    """choice == "name", known when it is compiled."""
    if not (isinstance(choice, ChoiceType) and isinstance(name, types.Literal)):
        return None
    same = choice.choice == name.literal_value
    return lambda choice, name: same


overload(operator.eq)(lambda choice, name: _is_named(choice, name))  # Numba compares signatures: no annotations
