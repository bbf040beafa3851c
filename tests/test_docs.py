"""README.md and docs: links and anchors lead somewhere, and every command that they name exists."""

from __future__ import annotations

import functools
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from mnbatch import __version__
from mnbatch.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
PAST = {"CHANGELOG.md"}
"""Pages about earlier versions: their options may have other names now."""

IDS = [page.relative_to(ROOT).as_posix() for page in PAGES]
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=IDS)

_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_COMMAND = re.compile(r"^(?:[^a-zA-Z]*|.*python -m )mnbatch (?=[a-z-])")
"""At the start of a line of code, after a prompt or the times of a cron table; elsewhere it may be part of a text."""


def anchors(text: str) -> set[str]:
    """What headings are called in links, as GitHub makes it."""
    found: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = sum(1 for other in found if re.fullmatch(re.escape(slug) + r"(-\d+)?", other))
        found.add(f"{slug}-{number}" if number else slug)
    return found


def broken_links(page: Path) -> list[str]:
    """Relative links of a page that lead nowhere."""
    text = page.read_text(encoding="utf-8")
    broken = []
    for target in _LINK.findall(_CODE.sub("", _FENCE.sub("", text))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        other = page.parent / name if name else page
        if not other.exists() or (anchor and anchor not in anchors(other.read_text(encoding="utf-8"))):
            broken.append(target)
    return broken


def snippets(text: str) -> Iterator[str]:
    """What a page shows as code: lines of blocks (continued ones joined), and code in sentences."""
    for block in _FENCE.findall(text):
        yield from re.sub(r"\\\n", " ", block).splitlines()[1:-1]
    for code in _CODE.findall(_FENCE.sub("", text)):
        yield code.strip("`")


def named_commands(text: str) -> Iterator[list[str]]:
    """The words after `mnbatch`, up to a comment, pipe or next command."""
    for snippet in snippets(text):
        command, found = _COMMAND.subn("", re.split(r"\s#|\s[|>]\s|&&|;", snippet)[0])
        if not found:
            continue
        try:
            yield shlex.split(command)
        except ValueError:
            yield command.split()


@functools.cache
def known_options() -> dict[str, frozenset[str] | None]:
    """Each command ("review sign") with its options; None for a name that only groups commands."""
    found: dict[str, frozenset[str] | None] = {}

    def add(name: str, command: Any) -> None:
        options = (option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts))
        below = getattr(command, "commands", {})
        found[name] = None if below and name else frozenset((*options, "--help", "-h"))
        for word, other in below.items():
            add(f"{name} {word}".strip(), other)

    add("", typer.main.get_command(app))
    return found


def unknown(words: list[str]) -> str:
    """What of a command line the program does not know; "" where it knows all."""
    known, name, rest = known_options(), "", list(words)
    while rest and not rest[0].startswith("-") and (not name or known[name] is None):
        name = f"{name} {rest.pop(0).rstrip('.,:')}".strip()
        if name not in known:
            return name
    flags = [word.strip("[]().,:").partition("=")[0] for word in rest]
    options = known[name] or frozenset(("--help", "-h"))
    return " ".join(flag for flag in flags if re.fullmatch(r"--?[a-z][a-z-]*", flag) and flag not in options)


@EACH_PAGE
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name not in PAST], ids=[name for name in IDS if name not in PAST]
)
def test_named_commands_exist(page: Path) -> None:
    strange = {" ".join(words): unknown(words) for words in named_commands(page.read_text(encoding="utf-8"))}
    assert {line: what for line, what in strange.items() if what} == {}


def test_the_checks_find_something(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b` c\n[x](#a-b-c) [y](#nowhere) [z](gone.md)\n", encoding="utf-8")
    assert broken_links(page) == ["#nowhere", "gone.md"]
    assert unknown(["run", "EXPORT", "--out", "OUT"]) == ""
    assert unknown(["run", "EXPORT", "--output", "OUT"]) == "--output"
    assert unknown(["review", "sing", "OUT"]) == "review sing"
    assert list(named_commands("`mnbatch dose OUT | head`")) == [["dose", "OUT"]]
    assert list(named_commands("```\n30 20 mnbatch run EXPORT\napp/  what mnbatch does\n```")) == [["run", "EXPORT"]]
    assert sum(1 for page in PAGES for _ in named_commands(page.read_text(encoding="utf-8"))) > 50


def test_one_version_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "version" not in project
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in citation
    assert f"\n## {__version__} (" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_each_dependency_has_a_lower_bound_that_can_be_pinned() -> None:
    """`nox -s lowest` installs exactly these."""
    spec = importlib.util.spec_from_file_location("noxfile_of_mnbatch", ROOT / "noxfile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pins = module.lowest_pins()
    assert "torch==2.11" in pins
    assert all(re.fullmatch(r"[\w.-]+==[\d.]+", pin) for pin in pins)


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f": {page.name}\n" not in site] == []
