"""Links of an export: what they lead to is taken once a donor; what leads nowhere is a cell or a slide that is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mnbatch.imaging.entries import is_folder
from mnbatch.imaging.layouts import EXTENSIONS, WHOLE_SLIDES, Layout
from mnbatch.imaging.litter import is_system_litter

NOWHERE = "link that leads nowhere"
LOOP = "link that leads back to a folder above (a loop)"
AGAIN = "reached before by another way (a link)"

DOCUMENTS = frozenset(
    (
        *("txt", "text", "csv", "tsv", "xml", "json", "yaml", "yml", "toml", "ini", "cfg", "conf", "log", "md", "rst"),
        *("pdf", "doc", "docx", "odt", "rtf", "xls", "xlsx", "xlsm", "ods", "ppt", "pptx", "html", "htm", "css", "js"),
        *("db", "sqlite", "mdb", "dat", "bin", "exe", "dll", "bat", "cmd", "sh", "py", "r", "ipynb", "url", "lnk"),
        *("md5", "sha1", "sha256", "bak", "mp4", "avi", "mov", "mp3", "wav", "svg", "eps"),
    )
)
"""Extensions of files that hold no cells. Folders may have dots in their names (`S1.old`), so no other says `file`."""

_PROBES = tuple(f"0.{extension}" for extension in (*EXTENSIONS, *WHOLE_SLIDES))


def is_document(entry: os.DirEntry[str]) -> bool:
    """Whether a link that leads nowhere was one to a file without cells, by its name or that of its target."""
    return any(_extension(name) in DOCUMENTS for name in (entry.name, _target_name(entry)))


def leads_to_image(entry: os.DirEntry[str]) -> bool:
    """Whether a link without the extension of an image leads, or led, to a file that has one."""
    return _extension(_target_name(entry)) in (*EXTENSIONS, *WHOLE_SLIDES)


def _target_name(entry: os.DirEntry[str]) -> str:
    try:
        return os.path.basename(os.readlink(entry.path))
    except OSError:
        return ""


def _extension(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""


class Reached:
    """The folders, and the targets of links to files, that a walk took, with the paths by which it came to them.

    One target is taken once; but where the layout's donors of two ways differ, under each of them. The slides then have
    the same files under two donors, as they would have by copying, and fail by the same rule.
    """

    def __init__(self, root: Path, layout: Layout) -> None:
        self._root = root
        self._layout = layout
        self._real_root = os.path.realpath(root)
        self._ways: dict[tuple[int, int], list[str]] = {}

    def why_not_folder(self, path: str, status: os.stat_result) -> str:
        """Why a folder is not read at this path; "" for one that is, which is noted."""
        ways = self._ways.setdefault(_key(status), [])
        if ways and self._lies_in_itself(path, status):
            return LOOP
        if not all(self._other_donors(path, way) for way in ways):
            return AGAIN
        ways.append(path)
        return ""

    def why_not_link(self, entry: os.DirEntry[str], path: str) -> str:
        """Links are followed, unless they lead to what is reached anyway, was taken, or holds the export."""
        folder = is_folder(entry)
        target = os.path.realpath(os.path.join(self._root, path))
        if f"{self._real_root}{os.sep}".startswith(target.rstrip(os.sep) + os.sep):
            return LOOP
        if target.startswith(self._real_root + os.sep):
            inside = os.path.relpath(target, self._real_root).replace(os.sep, "/")
            if self._is_walked(inside, folder) and not self._may_contradict(path, inside, folder):
                return f"link to {inside}, which is taken there"
        if folder:
            return ""
        ways = self._ways.setdefault(_key(entry.stat()), [])
        if not all(self._donors_differ(path, way) for way in ways):
            return "link to a file that was taken before"
        ways.append(path)
        return ""

    def _is_walked(self, path: str, folder: bool) -> bool:
        """The walk comes to this path by itself (it is not hidden, and a file fits the layout)."""
        parts = path.split("/")
        if any(is_system_litter(part) for part in parts):
            return False
        return folder or self._layout.place(path, self._root.name) is not None

    def _may_contradict(self, path: str, inside: str, folder: bool) -> bool:
        return self._other_donors(path, inside) if folder else self._donors_differ(path, inside)

    def _lies_in_itself(self, path: str, status: os.stat_result) -> bool:
        """Whether the way to a folder leads through that folder."""
        above = path.rpartition("/")[0]
        while above:
            if _key(os.stat(os.path.join(self._root, above))) == _key(status):
                return True
            above = above.rpartition("/")[0]
        return False

    def _other_donors(self, path: str, other: str) -> bool:
        """Whether the layout gives something in a folder to another donor by this path than by the other one."""
        if not self._layout.names_donors:
            return False
        return any(self._differ_in(path, other, *found) for found in _below(os.path.join(self._root, path)))

    def _differ_in(self, path: str, other: str, inside: str, names: list[str]) -> bool:
        """The same for one folder in it: by its first file that has a place; for other files, by an image."""
        for name in (*names, *_PROBES) if names else ():
            donors = [self._donor_of("/".join(filter(None, (way, inside, name)))) for way in (path, other)]
            if None not in donors:
                return donors[0] != donors[1]
        return False

    def _donors_differ(self, path: str, other: str) -> bool:
        donors = (self._donor_of(path), self._donor_of(other))
        return None not in donors and donors[0] != donors[1]

    def _donor_of(self, path: str) -> str | None:
        place = self._layout.place(path, self._root.name)
        return None if place is None else place.donor


def _below(top: str) -> Iterator[tuple[str, list[str]]]:
    """Folders in a folder, and it itself, by their paths in it, with the names in them; each is read once.

    One that cannot be listed has a name in it that says nothing: it may hold anything.
    """
    seen: set[tuple[int, int]] = set()
    left = [""]
    while left:
        inside = left.pop()
        names: list[str] = []
        try:
            status = os.stat(os.path.join(top, inside))
            if _key(status) not in seen:
                seen.add(_key(status))
                with os.scandir(os.path.join(top, inside)) as entries:
                    for entry in entries:
                        if is_folder(entry):
                            left.append(f"{inside}/{entry.name}" if inside else entry.name)
                        else:
                            names.append(entry.name)
        except OSError:
            names = ["?"]
        yield inside, sorted(names)


def _key(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
