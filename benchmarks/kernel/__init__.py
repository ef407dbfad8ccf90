"""What one update costs, here and with what else is at hand: microseconds per update and network, by batch size.

    python -m benchmarks.kernel [--short]      (from the root of the project)

Digits, 64-32-10 sigmoid, softmax cross-entropy, plain gradient steps, N = 1536 = 3 · 512 so that every batch is whole
and a compiled loop of fixed shape can take part. One thread for everybody, on one core where the system can be told.
Every arm starts from the same weights and takes the same examples in the same order; before anything is timed, all must
have reached the same cost after two epochs. Then the arms take turns, in an order that rotates from round to round;
times are medians over rounds, ratios are taken within a round.

Included: shuffling, gathering, updating; elsewhere the order is handed in, but drawn on the clock too. Not included:
compilation (reported apart). An arm whose library is missing is left out. `--short` compares with scikit-learn only and
fails when the ratio falls below a floor: no absolute time is asserted.
"""
