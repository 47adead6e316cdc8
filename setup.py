"""The top-level folders are installed as parts of one package, `matloop`; pyproject.toml has the rest.

`packages` is derived rather than listed, so that a new folder needs no second mention. Tests, benchmarks and examples
stay out.
"""

from setuptools import find_packages, setup

PARTS = ("orchestrator", "search_spaces", "surrogates", "drivers", "hpc", "campaigns", "testing")

setup(
    package_dir={"matloop": "."},
    packages=[
        "matloop",
        *(f"matloop.{name}" for part in PARTS for name in find_packages(".", include=(part, f"{part}.*"))),
    ],
)
