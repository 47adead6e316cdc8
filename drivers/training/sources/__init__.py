"""Where training data come from: files of many kinds, read as inputs, targets, ids and groups. No training here."""
