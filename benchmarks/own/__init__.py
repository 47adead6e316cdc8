"""What `own_data.py` is made of: data files, campaigns, hand-made networks and the watch over a run."""
