"""What pyproject.toml cannot say: `models/` of a checkout becomes `mnbatch/models` of the installed package."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["mnbatch", "mnbatch.*"]), "mnbatch.models"],
    package_dir={"mnbatch.models": "models"},
)
