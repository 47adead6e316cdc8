"""What the benchmark of elasticity holds the solver against."""
