"""What a microstructure is like, in numbers, and others that are like it; not what it is worth."""
