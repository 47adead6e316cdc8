"""What is expected and how surely: models of data and the honesty of their uncertainties; not what to do about it."""
