"""Microstructures with the statistics of a given one: new pictures of the same material, not copies of it."""
