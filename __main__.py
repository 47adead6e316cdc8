"""`python -m matloop`: the command, where no script of that name is on the path."""

from matloop.orchestrator.cli.main import main

if __name__ == "__main__":
    main()
