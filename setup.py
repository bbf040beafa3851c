"""What pyproject.toml cannot say: `models/` of a checkout becomes `mnbatch/models` of the installed package."""

from setuptools import find_namespace_packages, setup

setup(
    # Namespace discovery, because folders of templates and assets count as packages to setuptools.
    packages=[*find_namespace_packages(include=["mnbatch", "mnbatch.*"]), "mnbatch.models"],
    package_dir={"mnbatch.models": "models"},
)
