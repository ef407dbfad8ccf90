"""How time and memory of a training grow with examples, width, depth, batch size, replicas and cells.

    python -m benchmarks.scaling [--short] [--to FOLDER]      (from the root of the project; at most 8 minutes)

Trains cells on synthetic data, one axis at a time, with one BLAS thread. Times come from the training clock (updates)
and from the wall clock between checkpoints (everything else); repeats go round all points of an axis in turn, the first
round is discarded, and a point is the median of the others with its quartiles. Laws are fitted to relative errors, with
coefficients that cannot be negative, and are then held against cells that they have not seen.

Memory is what `tracemalloc` counts at the peak: NumPy reports every array to it, so the number is exact, repeats to the
byte and tells data, splitting and training apart, which resident memory does not (the allocator keeps what was freed,
and BLAS keeps buffers of its own). The peak of the resident memory of a fresh process stands beside it as a check from
outside. Writes scaling.csv, scaling.md and scaling.png. `--short` measures fewer and smaller points, and fails when
memory or a ratio of times is not as it should be (see `checks`): no absolute time is asserted.
"""
