"""What the commands do; `matloop.orchestrator.cli.main` declares them and imports each only when it is called."""
