"""The top-level folders are installed as parts of one package, `matloop`; pyproject.toml has the rest.

`packages` is derived rather than listed, so that a new folder needs no second mention. Tests, benchmarks, documents and
examples stay out, and so does this file, although it lies in the folder of the package.
"""

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

PARTS = ("orchestrator", "search_spaces", "surrogates", "drivers", "bundles", "hpc", "campaigns", "testing")


class Build(build_py):
    """Collects what is installed."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """Modules of a package, as (package, module, file)."""
        return [found for found in super().find_package_modules(package, package_dir) if found[1] != "setup"]


setup(
    package_dir={"matloop": "."},
    packages=[
        "matloop",
        *(f"matloop.{name}" for part in PARTS for name in find_packages(".", include=(part, f"{part}.*"))),
    ],
    cmdclass={"build_py": Build},
)
