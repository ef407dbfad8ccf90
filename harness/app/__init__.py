"""Hydra and the command line: from the words of a command to checked cells, and from results to an exit code.

The home of Hydra. May import every room before it; only `api` imports it, for the configurations of keywords.
"""

from harness.app.command import configurations, main
