"""At which updates training is measured: the ends of epochs, and a geometric grid that is the same for every cell.

To-target at full batch and at B = 1 then have the same relative resolution.
"""

import math

CHECKPOINTS_PER_DECADE = 10


def next_geometric(update: int, per_decade: int) -> int:
    """The smallest integer above `update` of the grid round(10^(k/per_decade))."""
    k = math.floor(per_decade * math.log10(update)) if update else 0
    while round(10 ** (k / per_decade)) <= update:
        k += 1
    return round(10 ** (k / per_decade))


def is_geometric(update: int, per_decade: int) -> bool:
    """Whether the update lies on the geometric grid."""
    return update > 0 and next_geometric(update - 1, per_decade) == update


def next_checkpoint(update: int, updates_per_epoch: int) -> int:
    """The next geometric update or end of an epoch, whichever comes first."""
    return min(next_geometric(update, CHECKPOINTS_PER_DECADE), (update // updates_per_epoch + 1) * updates_per_epoch)
