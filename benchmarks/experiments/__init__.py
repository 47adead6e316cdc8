"""Experiment recommendation by look-up: tables of real experiments, campaigns on them, peers, and their scores."""
