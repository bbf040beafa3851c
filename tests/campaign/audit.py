"""`python -m tests.campaign.audit`: direct dependencies, and advisories that their lower bounds must exclude.

By list, because databases of advisories cannot be asked from everywhere (`pip-audit` asks one over the network; use it
where you can). The list holds, for each package that `pyproject.toml` names, the newest release that fixed something;
add a line when you hear of another.
"""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

LOOKED_AT = "2026-11-28"
PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


@dataclass(frozen=True, slots=True)
class Advisory:
    """What was wrong before a release.

    Attributes:
        fixed: first release without it.
        what: identifiers and the fault, in a few words.
        here: whether and how it could have met mnbatch.
    """

    package: str
    fixed: str
    what: str
    here: str


ADVISORIES = (
    Advisory(
        "pillow",
        "12.3.0",
        "CVE-2026-59197, -59199, -59205 (writes out of bounds: filters, paste, colour profiles), -59204 and others",
        "decodes crops of exports; mnbatch opens PNG, JPEG and BMP with it, and pastes",
    ),
    Advisory(
        "torch",
        "2.11",
        "CVE-2025-32434 (2.6), CVE-2026-24747 (2.10), CVE-2026-4538 (after 2.10): code run by loading a pickle",
        "no pickle is ever loaded: weights are safetensors",
    ),
    Advisory(
        "jinja2",
        "3.1.6",
        "CVE-2025-27516: the sandbox can be left",
        "no template comes from outside; no sandbox is used",
    ),
    Advisory(
        "imagecodecs", "2023.9.18", "PYSEC-2023-174: libwebp in the wheel (CVE-2023-4863)", "decodes TIFF of exports"
    ),
    Advisory("scikit-learn", "1.5.0", "CVE-2024-5206: training data kept in a vocabulary", "no text is vectorised"),
    Advisory("pydantic", "2.4.0", "CVE-2024-3772: slow regular expression of e-mail addresses", "no such field"),
    Advisory("numpy", "1.22", "CVE-2021-41495, -41496, -34141", "arrays of images"),
    Advisory(
        "onnx",
        "1.21.0",
        "CVE-2026-27489, -34445, -34447: a model reads files outside of its folder",
        "is written, and no foreign one is read",
    ),
    Advisory(
        "waitress", "3.0.1", "CVE-2024-49768, -49769: requests mixed up, connections kept", "where it serves the review"
    ),
    Advisory(
        "setuptools", "78.1.1", "CVE-2025-47273: a path that leaves the folder of a download", "builds the package"
    ),
)


def lower_bounds() -> dict[str, str]:
    """Direct dependencies, also optional ones and those of the build, with their lower bounds ("" for none)."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    named = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for extra in project["project"]["optional-dependencies"].values():
        named += extra
    found = {}
    for text in named:
        wanted = Requirement(text)
        bounds = [spec.version for spec in wanted.specifier if spec.operator in (">=", "==", "~=")]
        found[re.sub(r"[-_.]+", "-", wanted.name).lower()] = bounds[0] if bounds else ""
    found.pop("mnbatch", None)
    return found


def installed(package: str) -> str:
    """Installed version; "" where it is not."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def problems() -> list[str]:
    """Bounds that allow, and installations that are, a release with a known fault."""
    bounds, found = lower_bounds(), []
    for advisory in ADVISORIES:
        bound, version = bounds.get(advisory.package), installed(advisory.package)
        if bound is not None and (not bound or Version(bound) < Version(advisory.fixed)):
            found.append(
                f"{advisory.package}>={bound or 'anything'} allows what {advisory.fixed} fixed: {advisory.what}"
            )
        if version and Version(version) < Version(advisory.fixed):
            found.append(f"{advisory.package} {version} is installed; {advisory.fixed} fixed {advisory.what}")
    return found


def main() -> int:
    """Print the table and the problems; exit code 1 where there are some."""
    known = {advisory.package: advisory for advisory in ADVISORIES}
    print(f"| package | at least | installed | newest fix known on {LOOKED_AT} | here |\n|---|---|---|---|---|")
    for package, bound in sorted(lower_bounds().items()):
        advisory = known.get(package)
        fix = f"{advisory.fixed}: {advisory.what}" if advisory else "none known"
        print(f"| {package} | {bound} | {installed(package) or 'no'} | {fix} | {advisory.here if advisory else ''} |")
    for problem in problems():
        print(f"PROBLEM {problem}")
    return 1 if problems() else 0


if __name__ == "__main__":
    sys.exit(main())
