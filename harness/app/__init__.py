"""Hydra and the command line: from the words of a command to checked cells, and from results to an exit code.

The home of Hydra. May import every other room; no other room imports it.
"""

from harness.app.command import configurations, main
