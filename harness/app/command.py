"""The entry of the command line: a verb, a question to Hydra, or a training."""

import gc
import os
import sys
from collections.abc import Sequence

from harness import __version__
from harness.config import Config, ConfigError, visible
from harness.store import INTERRUPTS, UnreachableError

MOST_TOLD = 8  # sentences of an answer
# New objects between two garbage collections: at Python's 700 they take a tenth of the CPU time of a small sweep.
GC_THRESHOLD = 50_000


def main() -> int:
    """Run the command line in sys.argv; the exit code is 2 for a mistake in it, 1 if the store does not answer."""
    gc.set_threshold(GC_THRESHOLD)
    try:
        with INTERRUPTS:
            try:
                return _run(sys.argv[1:])
            finally:
                sys.stdout.flush()
    except ConfigError as refused:
        say(f"harness: {refused}")
        return 2
    except UnreachableError as away:
        say(f"harness: the store does not answer: {away}")
        return 1
    except BrokenPipeError:  # the reader closed the pipe early, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the exit flushes nothing
        return 0


def _run(words: list[str]) -> int:
    if "--version" in words:
        print(f"harness {__version__}")
        return 0
    if words and not any(mark in words[0] for mark in "=-+~"):
        from harness.app import verbs

        return verbs.run(words[0], words[1:])
    from harness.app.session import answer_question

    if answer_question(words):
        return 0
    from harness.app.composition import checked_cells

    composed = checked_cells(words)  # a refusal comes before the imports of a training
    from harness.app.train import train

    return train(words, composed)


def configurations(words: Sequence[str]) -> list[Config]:
    """The configuration of every cell that these words ask for, composed but not checked. Raises ConfigError."""
    from harness.app.composition import compose_cells

    return [config for config, _ in compose_cells(words).cells]


def say(message: str) -> None:
    """Progress and results go to stderr; stdout has only what was asked for."""
    print(visible(message, kept="\n\t"), file=sys.stderr)


def tell_answer(sentences: Sequence[str]) -> None:
    """What the note says first."""
    for sentence in sentences[:MOST_TOLD]:
        say(sentence)
    if len(sentences) > MOST_TOLD:
        say(f"and {len(sentences) - MOST_TOLD} more in the note")
