"""What to try next: one file or folder a strategy; how a point is encoded or measured is not said here."""
