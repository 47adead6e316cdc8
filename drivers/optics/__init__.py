"""Light in a patterned film: materials, the solver, its derivatives and the driver; not where structures come from."""
