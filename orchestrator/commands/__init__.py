"""What the commands of `matloop` do; `orchestrator.cli` declares them and imports each only when it is called."""
