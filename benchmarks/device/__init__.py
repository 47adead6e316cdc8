"""The rows of `benchmarks/gpu.py`, one file each; `row` says what a row is and how to add one."""
