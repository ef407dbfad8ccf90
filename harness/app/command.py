"""The entry of the command line: a verb, a question to Hydra, or a training."""

import atexit
import gc
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness import __version__
from harness.app.terminal import lenient_streams
from harness.config import Config, ConfigError, fault_of_extension, visible
from harness.network import ExtensionError
from harness.store import INTERRUPTS, UnreachableError, check_here

if TYPE_CHECKING:
    from harness.app.ending import Result

AS_JSON = "--json"
# New objects between two garbage collections: at Python's 700 these take a tenth of the CPU time of a small sweep.
# While libraries are imported, which make half a million objects that all stay, there is none.
GC_THRESHOLD, GC_THRESHOLD_IMPORTING = 50_000, 1_000_000


def main() -> int:
    """Run the command line in sys.argv; the exit code is 2 for a mistake in it, 1 if the store does not answer."""
    gc.set_threshold(GC_THRESHOLD_IMPORTING)
    atexit.register(gc.freeze)  # at its end a process collects what no one will use: with MLflow that takes a second
    from harness.app.ending import Result

    words = [word for word in sys.argv[1:] if word != AS_JSON]
    result = Result(as_json=len(words) < len(sys.argv) - 1)
    with lenient_streams() as unwritten:
        try:
            return _recorded(words, result)
        finally:
            if failure := unwritten():
                say(f"harness: standard output: {failure.strerror}")
                sys.exit(1)


def libraries_are_imported() -> None:
    """From here on garbage is collected, but not looked for among what is there already."""
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


def _recorded(words: list[str], result: "Result") -> int:
    """Run the command line; with --json its result is printed, whatever ends it."""
    code = 1
    try:
        code = _refusing(words, result)
        return code
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
        raise
    finally:
        if result.as_json:
            print(result.written(code))


def _refusing(words: list[str], result: "Result") -> int:
    """Run the command line; what is refused is told in one line."""
    try:
        with INTERRUPTS:
            return _run(words, result)
    except ConfigError as refused:
        result.values["error"] = str(refused)
        say(f"harness: {refused}")
        return 2
    except ExtensionError as broken:  # found broken by a verb that reads: what trains checks it before
        say(f"harness: {broken}")
        return 2
    except UnreachableError as away:
        say(f"harness: the store does not answer: {away}")
        return 1
    except MemoryError as error:
        say(f"harness: {ConfigError('memory', 'what this machine has', str(error))}")
        return 2
    except Exception as error:
        if INTERRUPTS.exit_code:  # a library that was being imported made another exception of it
            return INTERRUPTS.exit_code
        if fault := fault_of_extension(error):
            result.values["error"] = fault
            say(f"harness: {fault}")
            return 2
        raise


def _run(words: list[str], result: "Result") -> int:
    if "--version" in words:
        print(f"harness {__version__}")
        return 0
    check_here()
    if words and not any(mark in words[0] for mark in "=-+~"):
        from harness.app import verbs

        return verbs.run(words[0], words[1:], result)
    from harness.app.session import answer_question

    if answer_question(words, may=not result.as_json):
        return 0
    from harness.app.composition import checked_cells

    composed = checked_cells(words)  # a refusal comes before the imports of a training
    with composed.launcher.importing(composed.cells[0][0].dry_run):
        from harness.app.train import train

        return train(words, composed, result)


def configurations(words: Sequence[str]) -> list[Config]:
    """The configuration of every cell that these words ask for, composed but not checked. Raises ConfigError."""
    from harness.app.composition import compose_cells

    return [config for config, _ in compose_cells(words).cells]


def say(message: str) -> None:
    """Progress and results go to stderr; stdout has only what was asked for."""
    print(visible(message, kept="\n\t"), file=sys.stderr)
