"""A sweep of many small cells, and the same command again, which finds them all.

    python -m benchmarks.many_cells [--cells 2000] [--store sqlite | server] [--short] [--joblib]

Cells take 30 updates of iris with 3 replicas, so that what is measured is what a cell costs beside its training.
`server` starts PostgreSQL and `mlflow server` for the measurement. Seconds of a cell are distances between the starts
of consecutive cells, at the beginning and at the end of the sweep; memory is the command's resident memory. Writes
many_cells_STORE.md; `--short` trains 40 cells, writes nothing, and fails if a later cell takes much longer than an
early one or if the second command trains anything.
"""
