"""Real faults applied to real processes, and what they leave of the runs.

commands   `python -m harness` as processes that can be killed at any moment
sabotage   changes to the code of a command that make it fail
servers    PostgreSQL, MLflow's server and a bad connection to it, on loopback
records    a store read with plain SQL, and the comparison of a disturbed sweep with an undisturbed one
trial      one sweep in a folder of its own: disturbed, repeated, compared
fault      what a fault is; its modules: commands_fail, deliveries, hostile, openings, outages,
           surroundings, together, travel, workers
catalogue  all faults, and the laboratory in which they are tried
__main__   tries them all and writes docs/reliability.md
"""
