"""A hook of mkdocs (see mkdocs.yml): the pages of the repository's root become pages of the site.

On GitHub `README.md` links to `docs/models.md`, and `docs/models.md` to `../SECURITY.md`. The site has all of them in
one folder, so links are rewritten when it is built; the files keep the links that work in the repository.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
SAME = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "CITATION.cff")
PAGES = {"README.md": "index.md"} | {name: name for name in SAME}
"""File of the root -> file of the site."""

_LINK = re.compile(r"(?P<open>\]\()(?P<target>[^)\s#]+)(?P<rest>[^)]*\))")


def on_files(files: Files, config: Any) -> Files:
    """Add the files of the root, and the examples that pages link to."""
    examples = {
        path.relative_to(ROOT).as_posix(): path.relative_to(ROOT).as_posix() for path in ROOT.glob("examples/*.*")
    }
    for name, page in (PAGES | examples).items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links as they are in the site."""
    del page, config, files
    return _LINK.sub(_rewritten, markdown)


def _rewritten(link: re.Match[str]) -> str:
    target = link["target"].removeprefix("../").removeprefix("docs/")
    return f"{link['open']}{PAGES.get(target, target)}{link['rest']}"
