"""Chemical formulas and crystals as numbers: statistics of the elements in them, and pools of candidates."""

from matloop.search_spaces.formulas.features import feature_names, featurise

__all__ = ["feature_names", "featurise"]
