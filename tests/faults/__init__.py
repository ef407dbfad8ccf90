"""Faults that really happen to real processes, and what is left of the runs afterwards.

commands   `python -m harness` as processes that can be killed at any moment
sabotage   what makes a command fail from within
servers    PostgreSQL, MLflow's server and a bad connection to it, on loopback
records    a store read with plain SQL, and the comparison of a disturbed sweep with an undisturbed one
trial      one sweep in a folder of its own: disturbed, repeated, compared
catalogue  the faults
__main__   tries them all and writes docs/reliability.md
"""
