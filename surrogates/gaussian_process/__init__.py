"""Exact Gaussian processes, their kernels and hyperparameters, and the least-squares machine akin to them."""
