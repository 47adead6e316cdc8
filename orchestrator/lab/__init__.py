"""Experiments that people do: one `Lab` behind the command line, Python, tables, the REST server and the page."""

from matloop.orchestrator.lab.lab import Lab, Recorded, Result

__all__ = ["Lab", "Recorded", "Result"]
