"""How honest predicted standard deviations are, and how they are made so; for any model."""
