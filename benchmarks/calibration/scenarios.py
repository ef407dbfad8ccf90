"""The truths that sweeps are drawn from, by name: without any effect, with one of 20 %, and with a known law."""

from dataclasses import replace

from benchmarks.calibration.sweeps import Truth

CLOCKS = ("epochs", "updates", "train seconds")
REDUCTIONS = ("mean", "sum")
ONE = (1, 1)  # learning rates

NULLS = {
    "two batch sizes, four learning rates each": Truth(),
    "two batch sizes, one learning rate each": Truth(rates=ONE),
    "six learning rates against one": Truth(rates=(6, 1)),
    "six batch sizes, three learning rates each": Truth(sizes=(2, 4, 8, 16, 32, 64), rates=(3,) * 6),
    "six batch sizes, one learning rate each": Truth(sizes=(2, 4, 8, 16, 32, 64), rates=(1,) * 6),
    "sum and mean, two batch sizes": Truth(rates=ONE, reductions=REDUCTIONS),
    "sum and mean are one training": Truth(rates=ONE, reductions=REDUCTIONS, twins=True),
    "three optimizers, two batch sizes": Truth(rates=ONE, optimizers=3),
    "1 replica": Truth(rates=ONE, replicas=1),
    "2 replicas": Truth(rates=ONE, replicas=2),
    "3 replicas": Truth(rates=ONE, replicas=3),
    "5 replicas": Truth(rates=ONE, replicas=5),
    "6 replicas": Truth(rates=ONE, replicas=6),
    "8 replicas": Truth(rates=ONE, replicas=8),
    "20 replicas": Truth(rates=ONE, replicas=20),
    "seeds=auto, tested at 10, 20 and 40 replicas": Truth(rates=ONE, replicas=40, looks=(10, 20, 40)),
    "costs that tie": Truth(rates=ONE, noise="ties", common=0),
    "a third of the costs are 0": Truth(rates=ONE, zero=0.33),
    "1 replica in 10 diverges": Truth(rates=ONE, lost=0.1),
    "half of the replicas diverge": Truth(rates=ONE, lost=0.5),
    "all replicas diverge": Truth(rates=ONE, lost=1.0),
    "heavy tails (t, 2 degrees of freedom)": Truth(rates=ONE, noise="heavy tails"),
    "skewed (exponential)": Truth(rates=ONE, noise="skewed"),
    "replicas alike in all cells": Truth(rates=ONE, spread=0.03, common=0.5),
    "readings of the clock differ by 20 %": Truth(rates=ONE, block_error=0.2),
}
LIMITS = {  # what no test on these tables can see
    "each cell's clock is 5 % off in all its blocks": Truth(rates=ONE, cell_error=0.05),
    "equal medians, but costs of one arm are skewed, 10 replicas": Truth(rates=ONE, first_noise="skewed"),
    "equal medians, but costs of one arm are skewed, 20 replicas": Truth(rates=ONE, first_noise="skewed", replicas=20),
}

SPREADS = {  # standard deviations of log ratios between replicas -> between which cells they were measured
    0.05: "digits",
    0.07: "diabetes, below its largest stable rate",
    0.1: "",
    0.15: "",
    0.18: "",
    0.2: "",
    0.3: "iris, at best",
    0.4: "diabetes, one cell at its largest stable rate",
    0.75: "iris, at worst",
}
REPLICAS = (10, 20)
POWERS = {
    (spread, replicas): Truth(effect=1.2, rates=ONE, spread=spread / 2**0.5, replicas=replicas)
    for spread in SPREADS
    for replicas in REPLICAS
}

LAW = Truth(sizes=(1, 8, 64, 512), rates=(5,) * 4, b_crit=32.0, spread=0.15)
FITS = {
    "6 replicas": replace(LAW, replicas=6),
    "10 replicas": LAW,
    "20 replicas": replace(LAW, replicas=20),
    "10 replicas that differ little in what is their own": replace(LAW, spread=0.05),
    "10 replicas with heavy tails": replace(LAW, noise="heavy tails"),
    "10 skewed replicas": replace(LAW, noise="skewed"),
    "10 replicas, of which 1 in 20 misses the target": replace(LAW, lost=0.05),
}
LAWS = {
    "6 replicas": replace(LAW, replicas=6),
    "10 replicas": LAW,
    "20 replicas, of which half choose the rate": replace(LAW, replicas=20),
    "10 replicas that differ little in what is their own": replace(LAW, spread=0.05),
    "10 replicas with heavy tails": replace(LAW, noise="heavy tails"),
    "10 skewed replicas": replace(LAW, noise="skewed"),
    "10 replicas, of which 1 in 20 misses the target": replace(LAW, lost=0.05),
    "10 replicas, best rates between those of the grid": replace(LAW, between=True),
    "10 replicas, an exponent of 0": replace(LAW, power=0.0),
    "10 replicas, an exponent of 1": replace(LAW, power=1.0),
}
