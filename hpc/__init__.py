"""Where evaluations run: executors, isolation, devices and job scripts; not what they evaluate."""
