"""What a Python program calls: `harness.train`, `harness.sweep`, `harness.load`, and the objects that these return.

The last room; may import every other one. `import harness` loads it at the first use of one of its names.
"""

from harness.api.results import Result, Sweep, load
from harness.api.training import sweep, train
