"""Names that file managers, editors, viewers and sync programs give to copies of a file; one table for all readers.

A name alone proves nothing: it is a copy only where the file that it is named after is next to it. Otherwise it is an
image like any other. So is one whose bytes are others, unless its name says that it is a small version: who keeps both
of two files with one name (`cell (2).tif`) has two cells.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

_COPY = "|".join(
    (
        *("copy", "kopie", "copie", "copia", "cópia", "kopia", "kopi", "kopio", "kópia", "másolat", "kopya"),
        *("копия", "копія", "复制", "副本", "複本", "コピー", "복사본"),
    )
)
_OF = r"of|von|de|di|av|af|van|z|od"
_SMALL = (
    r"thumbs?|thumbnails?|tn|previews?|prev|vorschau|apercu|aperçu|miniature|miniatur|miniatura|small|smaller|klein|lowres|"
    r"low[ -]?res|lores|reduced|resized|scaled|web|icon"
)
_KEPT = r"bak|backup|back-?up|orig|original|old|sav|saved|tmp|temp|autosave|edited|bearbeitet"

_SMALL_PATTERNS: tuple[str, ...] = (
    rf"(?P<of>.+?)[-_. ](?:{_SMALL})(?:[-_ ]?[0-9]+(?:px)?)?",
    rf"(?P<of>.+?) ?\((?:{_SMALL})\)",
    rf"(?:{_SMALL})[-_. ](?P<of>.+)",
    r"(?P<of>.+?)[-_][0-9]{2,4}x[0-9]{2,4}",
    r"(?P<of>.+?)@[23]x",
)
"""Of versions with other pixels: smaller, or for a page."""

PATTERNS: tuple[str, ...] = (
    rf"(?:{_COPY})(?: ?\([0-9]+\))? (?:(?:{_OF}) )?(?P<of>.+)",
    rf"(?P<of>.+?) ?[-–—_. ] ?(?:{_COPY})(?: ?\(?[0-9]+\)?)?",
    rf"(?P<of>.+?) ?\((?:{_COPY})(?: ?[0-9]+)?\)",
    rf"(?P<of>.+?)(?:の|的|의 )(?:{_COPY})(?: ?[0-9]+)?",
    r"(?P<of>.+?) ?\([^()]*conflict(?:ed)?[^()]*\)",
    r"(?P<of>.+?)[.~-](?:sync-)?conflict[-0-9A-Za-z]*",
    *_SMALL_PATTERNS,
    rf"(?P<of>.+?)[-_. ](?:{_KEPT})[0-9]*",
    r"(?P<of>.+?)~[0-9]*~?",
    r"[#~]\$?(?P<of>.+?)#?",
    r"(?P<of>.+)\.(?:tiff?|png|bmp|jpe?g)",
    r"(?P<of>.+?) ?\([0-9]{1,3}\)",
)
"""What the stem of a copy looks like (in any case); `of` is the stem of its original."""

MOST_ALIKE = 3
"""With more copies of one original by the same pattern (`cell (1)` to `cell (40)`, `S1_120x340`), these are names of a
series, and no file is a copy."""

COPY_FOLDERS = re.compile(
    rf"[._@-]?(?:{_SMALL}|{_COPY}|copies|kopien|copies de sauvegarde|{_KEPT}|backups?)", re.IGNORECASE
)
"""Folders that hold copies of what is in the folder above them."""

_COMPILED = tuple(re.compile(pattern, re.IGNORECASE) for pattern in PATTERNS)
_SMALL_COMPILED = tuple(re.compile(pattern, re.IGNORECASE) for pattern in _SMALL_PATTERNS)


def copies_among(stems: Iterable[str], originals: Collection[str] | None = None) -> Mapping[str, str]:
    """Stems that are named as copies of others that are there.

    Args:
        stems: names of the images of one folder without their extensions.
        originals: stems of the folder whose copies they may be; None: the same folder.

    Returns:
        Stem of a copy -> stem of its original. An original is never a copy itself.
    """
    names = list(dict.fromkeys(stems))
    known = {stem.casefold(): stem for stem in (names if originals is None else originals)}
    series = _series(names)
    found = {}
    for stem in names:
        original = _original_of(stem.casefold(), known, series, itself=originals is not None)
        if original is not None:
            found[stem] = original
    return {copy: _last(original, found) for copy, original in found.items()}


def is_small_version(stem: str) -> bool:
    """Whether a copy is named as one with other pixels, so that its bytes are others than its original's."""
    return any(pattern.fullmatch(stem) for pattern in _SMALL_COMPILED)


def is_copy_folder(name: str) -> bool:
    """Whether a folder is named as one that holds copies of what is above it."""
    return COPY_FOLDERS.fullmatch(name) is not None


def _original_of(
    stem: str, known: Mapping[str, str], series: Collection[tuple[int, str]], *, itself: bool
) -> str | None:
    """The nearest name that is there when what copying adds to a name is taken away, piece by piece."""
    if itself and stem in known:
        return known[stem]
    waiting, seen = [stem], {stem}
    while waiting:
        for pattern, shorter in _shorter(waiting.pop(0)):
            if shorter in seen or (pattern, shorter) in series:
                continue
            if shorter in known:
                return known[shorter]
            seen.add(shorter)
            waiting.append(shorter)
    return None


def _shorter(stem: str) -> Iterator[tuple[int, str]]:
    """Number of a pattern, and the stem of the original by it."""
    for number, pattern in enumerate(_COMPILED):
        match = pattern.fullmatch(stem)
        if match and match["of"].strip():
            yield number, match["of"].strip()


def _series(names: Iterable[str]) -> set[tuple[int, str]]:
    counts = Counter(way for name in names for way in _shorter(name.casefold()))
    return {way for way, count in counts.items() if count > MOST_ALIKE}


def _last(original: str, found: Mapping[str, str]) -> str:
    """The end of the way from copy to original; a copy of a copy is one of the first."""
    seen = {original}
    while original in found and found[original] not in seen:
        original = found[original]
        seen.add(original)
    return original
