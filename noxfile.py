"""Sessions on several Pythons and with the oldest dependencies: `nox -l` lists them, `nox -s lowest` runs one.

Each session makes an environment of its own under `.nox/`. Arguments after `--` go to pytest:
`nox -s tests-3.12 -- tests/assay`.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PYTHONS = ("3.11", "3.12", "3.13")
RUNTIME_EXTRAS = ("train", "vendor", "onnx")
"""Extras whose packages the program itself imports; those of `docs` and `dev` are tools and stay at their newest."""

_BOUND = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)>=(?P<version>[0-9][0-9.]*)$")

nox.options.sessions = ["lint", "tests-3.11", "docs"]
nox.options.error_on_missing_interpreters = False


def lowest_pins(pyproject: Path = ROOT / "pyproject.toml") -> list[str]:
    """Each `name>=version` of the program's dependencies as `name==version`.

    Raises:
        ValueError: a dependency has another form, so that its lowest version is not known.
    """
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    pins = []
    for requirement in [*project["dependencies"], *(line for extra in RUNTIME_EXTRAS for line in extras[extra])]:
        bound = _BOUND.match(requirement)
        if bound is None:
            raise ValueError(f"{requirement!r} has no lower bound of the form name>=version.")
        pins.append(f"{bound['name']}=={bound['version']}")
    return sorted(pins, key=str.lower)


def _run_tests(session: nox.Session) -> None:
    session.run("python", "-m", "pytest", *(session.posargs or ["-n", "auto", "--dist", "worksteal"]))


@nox.session(python=list(PYTHONS))
def tests(session: nox.Session) -> None:
    """The test suite with the newest dependencies."""
    session.install("--editable", ".[dev]")
    _run_tests(session)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """The test suite with the oldest dependencies that pyproject.toml allows, on the oldest Python."""
    constraints = Path(session.create_tmp()) / "lowest.txt"
    constraints.write_text("\n".join(lowest_pins()) + "\n", encoding="utf-8")
    session.install("--editable", ".[dev]", "--constraint", str(constraints))
    _run_tests(session)


@nox.session(python=PYTHONS[0])
def lint(session: nox.Session) -> None:
    """Style, format, types."""
    session.install("--editable", ".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session(python=PYTHONS[0])
def docs(session: nox.Session) -> None:
    """The site with its link check, and the checks of README.md and of the commands that pages name."""
    session.install("--editable", ".[dev]")
    session.run("mkdocs", "build", "--strict")
    session.run("python", "-m", "pytest", "-q", "tests/test_docs.py")


if __name__ == "__main__":
    print("\n".join(lowest_pins()))
