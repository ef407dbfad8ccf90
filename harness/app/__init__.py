"""Hydra and the command line: from the words of a command to checked cells, and from results to an exit code.

The home of Hydra. May import every room before it; of those after it, `api` composes its cells here.
"""

__all__ = []

from harness.app.command import configurations, main

__all__ = ["configurations", "main"]
