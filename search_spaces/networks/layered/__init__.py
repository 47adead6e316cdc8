"""Convolutional and dense networks, layer after layer: their genes, their plan, and what keeps their function."""
