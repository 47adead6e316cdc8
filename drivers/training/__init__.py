"""Training a network as a measurement: data, tasks, and where a training starts from."""
