"""Microstructures from latent vectors: the generator, its training and how true it is; not what they are worth."""
