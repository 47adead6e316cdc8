"""The running of studies: asking, evaluating, telling, stopping; it knows protocols, not concrete parts."""
