"""Spaces of real experiments: parameters, mixtures of components, and constraints on them."""
