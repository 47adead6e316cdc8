"""Steady-state evolution with a fitness predictor; not the changes to a point, which its space makes."""
