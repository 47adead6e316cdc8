"""Neural networks as surrogates, and their training, which the training driver shares; not their architecture."""
