"""Networks with an output at every pixel: their genes and their plan."""
