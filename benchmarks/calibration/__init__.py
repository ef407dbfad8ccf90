"""How often answers are wrong: whole answers of many sweeps that are drawn from a known truth, without training.

    python -m benchmarks.calibration [nulls] [power] [laws] [population] [fits] [exponents] [--short]

Without any effect: the share of sweeps of which some cost is falsely said to be lower. With one of 20 %: the share in
which it is found. With a law of updates and of learning rates: how often intervals hold the truth. Writes its tables
into docs/statistics.md; the short form writes nothing, and fails where more is false than chance explains.
"""
