"""What `matloop init` writes: per template a campaign file and the Python file that it measures with."""
