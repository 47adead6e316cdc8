"""What the benchmark of active learning is made of: tasks, and the comparison of their curves."""
