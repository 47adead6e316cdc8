"""What networks are trained for, one kind a file: targets, losses, figures; not where data are from or how long."""
