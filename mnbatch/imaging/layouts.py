"""How an export is laid out, as data: a pattern such as `{donor}/{slide}/{cell}.tif`.

A pattern is a path relative to the export root, with forward slashes:

* `{donor}`, `{slide}`, `{cell}` match a part of one folder or file name; `{slide}` must be there, each at
  most once. Without `{cell}` (or one of the next) every file is a slide of its own.
* `{well}`, `{field}`, `{channel}`, `{plane}`, `{time}` match likewise, and say which files show one scene
  (`mnbatch.imaging.scene_names`).
* `{ext}` matches any extension that mnbatch reads, `{whole}` for any of a whole slide; `{tif,png}` for one of
  those named.
* `*` matches any part of one name, `**` for any number of folders (also none).
* Everything else matches itself. Extensions match in any case; `tif` also matches `tiff`, `jpg` `jpeg`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mnbatch.assay.field_records import InputKind
from mnbatch.errors import UsageError
from mnbatch.imaging.formats.registry import PICTURES, VENDORS

EXTENSIONS: tuple[str, ...] = ("tif", "tiff", *(extension for known in PICTURES for extension in known.extensions))
"""Extensions that are examined; of two files with one stem the one whose extension comes first is taken."""

FIELD_FILES: tuple[str, ...] = tuple(extension for known in VENDORS for extension in known.extensions)
"""Extensions of microscopes' own files that are read as fields, where their reader is installed."""

PRESETS: dict[str, tuple[str, str]] = {
    "folder-per-slide": (
        "**/{slide}/{cell}.{ext}",
        "each folder that directly holds images is a slide; donors come from a sample sheet",
    ),
    "donor-slide-folders": (
        "**/{donor}/{slide}/{cell}.{ext}",
        "each folder that directly holds images is a slide, and the folder above it is the donor",
    ),
    "flat-files": (
        "**/{donor}_{slide}_{cell}.{ext}",
        "files named donor_slide_cell.ext, in one folder or in many",
    ),
    "tiff-galleries": ("**/{slide}.{tif,tiff}", "each TIFF file is a slide, and each of its pages a cell"),
}

WHOLE_SLIDES: tuple[str, ...] = ("svs", "ndpi", "mrxs", "scn", "vms", "vmu", "bif", "svslide", "dcm")
"""Extensions that only whole slides have; TIFFs may be whole slides too."""

WHOLE_SLIDE_PRESETS: dict[str, tuple[str, str]] = {
    "folder-per-slide": ("**/{slide}.{whole}", "each whole-slide file is a slide; donors come from a sample sheet"),
    "donor-slide-folders": (
        "**/{donor}/{slide}.{whole}",
        "each whole-slide file is a slide, and the folder that holds it is the donor",
    ),
    "flat-files": ("**/{donor}_{slide}.{whole}", "whole slides named donor_slide.ext, in one folder or in many"),
}
"""What the presets mean where an export holds whole slides."""

DEFAULT_LAYOUT = "folder-per-slide"
_IMAGE_FOLDERS = "(?i:images|fields)/"
PATTERN_EXAMPLE = "{donor}/{slide}/{cell}.tif"
SCENE_PLACEHOLDERS = ("well", "field", "channel", "plane", "time")
_OF_CELLS = ("cell", *SCENE_PLACEHOLDERS)
_FIELDS = ("donor", "slide", *_OF_CELLS)
_TOKEN = re.compile(r"\{([^{}]*)\}|\*\*/|\*+|[^{}*]+|[{}]")
_ALIASES = {"tif": ("tif", "tiff"), "tiff": ("tif", "tiff"), "jpg": ("jpg", "jpeg"), "jpeg": ("jpg", "jpeg")}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file belongs.

    Attributes:
        slide: what the laboratory calls the slide.
        donor: donor code, or None where the layout has none.
        anchor: folder under which all files of the slide are, "." for the root.
        path: folder or file that holds the slide, relative to the root.
    """

    slide: str
    donor: str | None
    anchor: str
    path: str


@dataclass(frozen=True, slots=True)
class Layout:
    """A compiled pattern.

    Attributes:
        name: preset name, or the pattern itself.
        pattern: the pattern.
        explanation: what it means, for a person.
        nested: files of one slide may be in several folders.
        root_is_slide: images directly in the export are a slide named after the export.
        slide_in_file_name: the slide is no folder; its name is part of its files' names.
        has_cell: a slide may have many files.
        folders: expressions of the folders of the pattern from the export on, up to the first `**`.
        any_depth: there is such a `**`.
    """

    name: str
    pattern: str
    explanation: str
    nested: bool
    root_is_slide: bool
    slide_in_file_name: bool
    has_cell: bool
    regex: re.Pattern[str]
    folders: tuple[str, ...] = ()
    any_depth: bool = True

    def place(self, path: str, root_name: str) -> Place | None:
        """Find the slide of the file at `path` (relative to the root), or None when it does not fit."""
        match = self.regex.fullmatch(path)
        if match is None:
            if self.root_is_slide and "/" not in path and self.regex.fullmatch(f"_/{path}"):
                return Place(root_name, None, ".", ".")
            return None
        fields = match.groupdict()
        if self.slide_in_file_name:
            anchor = path.rpartition("/")[0] or "."
            return Place(fields["slide"], fields.get("donor"), anchor, self._slide_path(match, anchor))
        end = path.index("/", match.end("slide"))
        return Place(fields["slide"], fields.get("donor"), path[:end], path[:end])

    def may_lie_in(self, folder: str) -> bool:
        """Whether files that fit may be in this folder, or further below it."""
        parts = folder.split("/")
        depth = len(self.folders)
        if len(parts) > depth and not self.any_depth:
            return False
        return all(re.fullmatch(want, part, re.DOTALL) for want, part in zip(self.folders, parts, strict=False))

    @property
    def names_donors(self) -> bool:
        """Whether paths say whose a slide is."""
        return "donor" in self.regex.groupindex

    @property
    def says_scenes(self) -> bool:
        """Whether its pattern states channels, planes, times, fields or wells."""
        return any(name in self.regex.groupindex for name in SCENE_PLACEHOLDERS)

    def groups(self, path: str) -> dict[str, str | None] | None:
        """What the placeholders stand for in a path; None where it does not fit."""
        match = self.regex.fullmatch(path) or (self.regex.fullmatch(f"_/{path}") if self.root_is_slide else None)
        return None if match is None else match.groupdict()

    def _slide_path(self, match: re.Match[str], anchor: str) -> str:
        """Path of a slide that is no folder: its file, or the part of the name that all its files share."""
        if not self.has_cell:
            return match.string
        ends = [match.end(name) for name in ("donor", "slide") if name in self.regex.groupindex]
        starts = [match.start(name) for name in _OF_CELLS if name in self.regex.groupindex]
        if min(starts) >= max(ends):
            return match.string[: max(ends)]
        return match["slide"] if anchor == "." else f"{anchor}/{match['slide']}"


def parse_layout(text: str, kind: InputKind = "crops") -> Layout:
    """Compile a preset name or a pattern.

    Args:
        text: preset name or pattern.
        kind: what the export holds; the presets mean whole-slide files where it holds those, and a slide of fields
            may have its files in a folder `images` of its own.

    Raises:
        UsageError: neither a preset nor a pattern that can be acted on.
    """
    if kind == "wsi" and text in WHOLE_SLIDE_PRESETS:
        pattern, explanation = WHOLE_SLIDE_PRESETS[text]
        return _compile(text, pattern, explanation)
    if kind == "fields" and text in ("folder-per-slide", "donor-slide-folders"):
        pattern, explanation = PRESETS[text]
        return _with_image_folders(_compile(text, pattern, explanation))
    if text in PRESETS:
        pattern, explanation = PRESETS[text]
        return _compile(text, pattern, explanation)
    if "{" not in text:
        raise UsageError(f"Unknown layout '{text}'.", _advice())
    return _compile(text, text, "files that fit this pattern")


def _with_image_folders(layout: Layout) -> Layout:
    """The same layout, where files may also be in a folder `images` (or `fields`) of their slide."""
    slide = "(?P<slide>[^/]+?)/"
    inner = layout.regex.pattern.replace(slide, f"(?P<slide>(?!{_IMAGE_FOLDERS})[^/]+?)/(?:{_IMAGE_FOLDERS})?")
    explanation = f"{layout.explanation}; a folder named images or fields belongs to the slide above it"
    return replace(layout, explanation=explanation, nested=True, regex=re.compile(inner, re.DOTALL))


def _advice() -> str:
    return f"Use one of {', '.join(PRESETS)}, or a pattern such as '{PATTERN_EXAMPLE}'."


def _compile(name: str, pattern: str, explanation: str) -> Layout:
    normal = pattern.replace("\\", "/").removeprefix("./")
    _check(name, normal)
    parts = normal.split("/")
    slide_part = next(index for index, part in enumerate(parts) if "{slide}" in part)
    last = len(parts) - 1
    fixed = parts[: parts.index("**")] if "**" in parts else parts[:-1]
    return Layout(
        name=name,
        pattern=pattern,
        explanation=explanation,
        nested=slide_part != last and last - slide_part > 1,
        root_is_slide=normal.startswith("**/{slide}/") and "{donor}" not in normal and len(parts) == 3,
        slide_in_file_name=slide_part == last,
        has_cell=any(f"{{{name}}}" in normal for name in _OF_CELLS),
        regex=re.compile("".join(_expressions(normal)), re.DOTALL),
        folders=tuple("".join(_expressions(part)) for part in fixed),
        any_depth="**" in parts,
    )


def _check(name: str, pattern: str) -> None:
    """Refuse what would silently find nothing or the wrong thing."""
    fields = re.findall(r"\{(\w+)\}", pattern)
    unknown = [
        field for field in fields if field not in (*_FIELDS, "ext", "whole", *EXTENSIONS, *WHOLE_SLIDES, *FIELD_FILES)
    ]
    problem = ""
    if unknown:
        known = ", ".join(f"{{{field}}}" for field in (*_FIELDS, "ext"))
        problem = f"{{{unknown[0]}}} is not a placeholder; use one of {known}"
    elif "slide" not in fields:
        problem = "it has no {slide}"
    elif len(fields) != len(set(fields)):
        problem = "a placeholder is used twice"
    elif pattern.startswith("/") or ".." in pattern.split("/"):
        problem = "it must be relative to the export"
    elif re.sub(r"\{[\w, ]+\}", "", pattern).strip("{}") != re.sub(r"\{[\w, ]+\}", "", pattern):
        problem = "a brace is not closed"
    elif pattern.endswith("/"):
        problem = "it ends with a folder, not with a file"
    elif re.search(r"\}\{(?!ext|whole|\w+,)", pattern):
        problem = "two placeholders have no text between them"
    if problem:
        raise UsageError(f"The layout '{name}' cannot be used: {problem}.", _advice())


def _expressions(pattern: str) -> Iterator[str]:
    """Regular expression of each token; fields are non-greedy, so the first separator ends them."""
    for token in _TOKEN.finditer(pattern):
        text, inside = token.group(0), token.group(1)
        if inside in _FIELDS:
            yield f"(?P<{inside}>[^/]+?)"
        elif inside is not None:
            sets = {"ext": (*EXTENSIONS, *FIELD_FILES), "whole": (*WHOLE_SLIDES, "tif", "tiff")}
            yield _extensions(sets.get(inside) or tuple(inside.split(",")))
        elif text == "**/":
            yield "(?:[^/]+/)*"
        elif text.startswith("*"):
            yield "[^/]*"
        else:
            yield _literal(text)


def _extensions(names: tuple[str, ...]) -> str:
    wanted = sorted({alias for name in names for alias in _ALIASES.get(name.strip().lower(), (name.strip(),))})
    return f"(?i:{'|'.join(re.escape(name) for name in wanted)})"


def _literal(text: str) -> str:
    """A literal, of which a closing `.tif` also matches `.TIF` and `.tiff`."""
    stem, dot, extension = text.rpartition(".")
    if dot and extension.lower() in (*EXTENSIONS, *WHOLE_SLIDES, *FIELD_FILES):
        return re.escape(stem + dot) + _extensions((extension,))
    return re.escape(text)
