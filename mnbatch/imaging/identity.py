"""Slide-ids and cell-ids: readable, unique, the same from run to run."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata

_SLUG_LENGTH = 64
_HASH_DIGITS = 6


def slide_id(path: str) -> str:
    """Identity of the slide that is at `path`.

    The id is the slug of the path, plus 6 hex digits of the SHA-256 of the path as the file system spells it
    (forward slashes, UTF-8, undecodable bytes kept). It depends on the path alone, so a slide keeps its id
    when other slides come and go.

    Args:
        path: folder or file that holds the slide, relative to the export root; "." for the root itself.

    Returns:
        ASCII letters, digits, "-", "_" and "." only; at most 71 characters.
    """
    spelled = path.replace(os.sep, "/") if os.sep != "/" else path
    digest = hashlib.sha256(os.fsencode(spelled)).hexdigest()[:_HASH_DIGITS]
    return f"{slug(spelled)}-{digest}"


def cell_id(slide_id: str, source: str, page: int | None) -> str:
    """Identity of one cell: `<slide_id>:<source>`, with `#<page>` (from 0) in a multi-page file."""
    return f"{slide_id}:{source}" if page is None else f"{slide_id}:{source}#{page}"


def slug(text: str) -> str:
    """ASCII spelling of `text` that every file system takes, at most 64 characters.

    Accents are dropped and letters without an ASCII base are written by their code (`u4e2d`), so that names
    in other scripts stay apart. Of a long text the end is kept: folder names differ there.
    """
    plain = "".join(_ascii(letter) for letter in unicodedata.normalize("NFKD", text))
    joined = re.sub(r"[^A-Za-z0-9_.]+", "-", plain)
    joined = re.sub(r"\.{2,}", ".", joined)
    return joined[-_SLUG_LENGTH:].strip("-.") or "slide"


def _ascii(letter: str) -> str:
    if letter.isascii():
        return letter
    if unicodedata.combining(letter):
        return ""
    if letter.isalnum() or "\ud800" <= letter <= "\udfff":
        return f"u{ord(letter):04x}"
    return "-"
