"""Where the seconds of the command go: from the interpreter's start to the report, and how long an answer takes.

    python -m benchmarks.command [--short] [--to FOLDER]      (from the root of the project; at most 6 minutes)

Each command runs as a user's would, in a process and a folder of its own, by way of `probe`: that replaces functions of
the harness and of the import system by ones that say when they begin and end, and then calls the command line. Time is
charged to the innermost phase that is open, so phases add up to the whole; what a phase calls that has a phase of its
own is not counted twice. A function that is not there any more leaves its time to whatever calls it, and is named.
Beside wall seconds stands CPU time (user + system, child processes included), which other processes disturb less.
Writes command.csv, command.md and command.png. `--short` runs less, and fails when a phase is not found or an answer
takes about as long as a sweep (see `checks`): no absolute time is asserted.

Nothing heavy is imported here at module level: the probed process imports this module, too.
"""
