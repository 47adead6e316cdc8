"""Trained networks to use: what they predict, how sure they are, and where not to trust them; not their training."""
