"""Architecture search that trains for real: small data sets made on the spot, and networks as points for Optuna."""
