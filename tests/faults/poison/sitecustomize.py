"""The cell of B=16 kills whatever process trains it, as the kernel does when memory runs out."""

import os
import signal

from harness.training.cell import Cell

_train = Cell.train


def _deadly(cell):
    for record in _train(cell):
        if cell.config.batch_size == 16 and record.update > 18:
            os.kill(os.getpid(), signal.SIGKILL)
        yield record


Cell.train = _deadly
