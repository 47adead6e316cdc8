"""Strategies that fit a surrogate, and how they choose by it; not the surrogates themselves."""
