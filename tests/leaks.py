"""Looks for names in everything of an OUT that may be shared: names of files, bytes, and what is packed in them."""

import base64
import html
import json
import re
import unicodedata
import zlib
from pathlib import Path
from urllib.parse import quote

import tifffile
from PIL import Image

from mnbatch.results.paths import is_private

PNG_OR_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
MOST_PACKED = 200


def spellings(name: str) -> set[bytes]:
    """A name as files spell it: encodings, escapes of JSON, HTML, addresses, Python and hex digits, base64."""
    forms = {name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)}
    texts = set(forms)
    for form in forms:
        texts |= {json.dumps(form)[1:-1], html.escape(form), quote(form), quote(form, safe="")}
        texts |= {form.encode("ascii", "xmlcharrefreplace").decode(), form.encode("ascii", "backslashreplace").decode()}
        texts |= {repr(form.encode())[2:-1], form.encode().hex()}
    found = {text.encode("utf-8") for text in texts}
    for form in forms:
        found |= {form.encode("utf-16-le"), form.encode("utf-16-be"), form.encode("latin-1", "ignore")}
        found |= {_base64(form.encode(), shift) for shift in range(3)}
    return {spelling.lower() for spelling in found if len(spelling) > 3}


def _base64(data: bytes, shift: int) -> bytes:
    """The part of a base64 text that does not depend on what stands round the name."""
    coded = base64.b64encode(b"\0" * shift + data)
    return coded[(0, 2, 3)[shift] : len(coded) // 4 * 4 - 4]


def leaks_in(data: bytes, names: list[str]) -> list[str]:
    """The names that stand in the data, however they are spelled."""
    lowered = data.lower()
    return [name for name in names if any(spelling in lowered for spelling in spellings(name))]


def packed(data: bytes) -> bytes:
    """What is deflated in the data, as far as it can be told by its header."""
    found = []
    for start in list(PNG_OR_ZLIB.finditer(data))[:MOST_PACKED]:
        try:
            found.append(zlib.decompressobj().decompress(data[start.start() :], 1 << 20))
        except zlib.error:
            continue
    return b"\n".join(found)


def metadata(path: Path) -> bytes:
    """What a picture says beside its pixels."""
    if path.suffix == ".tif":
        with tifffile.TiffFile(path) as tiff:
            return "\n".join(str(tag.value) for page in tiff.pages for tag in page.tags.values()).encode()
    if path.suffix in (".png", ".jpg"):
        with Image.open(path) as image:
            return repr({**image.info, **dict(image.getexif())}).encode()  # type: ignore[misc]
    return b""


def leaks(out: Path, names: list[str]) -> list[str]:
    """Every place below OUT that may be shared and holds one of the names."""
    found = []
    for path in sorted(out.rglob("*")):
        relative = path.relative_to(out).as_posix()
        if is_private(relative):
            continue
        data = relative.encode("utf-8", "surrogateescape")
        if path.is_file():
            content = path.read_bytes()
            data += b"\n" + content + b"\n" + packed(content) + b"\n" + metadata(path)
        found += [f"{name!r} in {relative}" for name in leaks_in(data, names)]
    return found
