"""The design benchmark's problem, its methods, and the loop that runs one of them; not what comes of it."""
