"""Genes of a training, with which tests of networks write down genomes."""

from __future__ import annotations

TRAINING = {
    "optimiser": "adam",
    "learning_rate": 1e-3,
    "weight_decay": 1e-5,
    "batch": 16,
    "warm_up": 0.1,
    "final_rate": 0.01,
    "gradient_norm": 5.0,
    "averaging": 0.0,
}
