"""The whole command beside what a user writes by hand: Hydra, an MLflow run per cell, a training loop, one figure.

Both sweep three batch sizes over 30 epochs on digits; the script trains each cell once, the harness ten times, with
tables, intervals and a report.
"""
