"""The same equations as machine code, for small batches: an optional extra (Numba), imported by `engine=compiled` only.

May import `network`, whose numbers it repeats up to the order of sums.
"""

from harness.compiled.engine import Compiled
