"""The gallery page's files: pictures in strips, data.js with every counted cell, maps.js with its maps."""

from __future__ import annotations

import base64
import json
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mnbatch.assay.calls import CalledCell
from mnbatch.assay.cells import spread
from mnbatch.assay.map_grid import map_box
from mnbatch.intake import read_bytes
from mnbatch.report import page_pictures, wording
from mnbatch.report.field_context import NOWHERE, Surroundings
from mnbatch.results.records import SlideRecord
from mnbatch.results.stored_crops import StoredCrops, map_record
from mnbatch.review.queue import OUTSIDE, STRATA, Queue
from mnbatch.review.review_status import saved_decisions
from mnbatch.review.trail import Trail

# Many crops in one picture file, without decoding and without loss.
#
# A page opened from disk cannot read crops.bin, 2000 small files a slide would burden every copy, and base64 adds a
# third. Baseline JPEGs with the same tables join as they are: one header, and the crops' scans divided by restart
# markers (ITU-T T.81, B.2.1 and E.1.4), below each other. The bytes are those of the crops less their repeated
# headers.


CROPS_A_STRIP = 8
"""More save headers and files; fewer let a browser decode less for one crop: with 32, tiles stayed empty."""

MOST_MCUS = 65535
MOST_ROWS = 65000
SOF0, DRI, SOS = 0xC0, 0xDD, 0xDA


@dataclass(frozen=True, slots=True)
class Parts:
    """A baseline JPEG in pieces.

    Attributes:
        header: from SOI to the end of the scan's header.
        height_at: where in `header` the picture's height is.
        scan_at: where in `header` the scan's header begins.
        scan: entropy-coded data, without EOI.
        pitch: height of whole MCU rows, px.
        mcus: MCUs of the picture.
    """

    header: bytes
    height_at: int
    scan_at: int
    scan: bytes
    width: int
    height: int
    pitch: int
    mcus: int


@dataclass(frozen=True, slots=True)
class Strip:
    """A picture file with `number` crops below each other, each `height` px, one every `pitch` px.

    Of a crop that could not be joined only the proportions count: it is the whole picture.
    """

    data: bytes
    number: int
    width: int
    height: int
    pitch: int


def strips(jpegs: Iterable[bytes]) -> list[Strip]:
    """Join crops, in their order, into as few strips as their headers allow."""
    found: list[Strip] = []
    group: list[Parts] = []
    for jpeg in jpegs:
        part = split(jpeg)
        if group and (part is None or part.header != group[0].header or len(group) == _most(group[0])):
            found.append(_join(group))
            group = []
        if part is None:
            found.append(Strip(jpeg, 1, 1, 1, 1))
        else:
            group.append(part)
    return [*found, _join(group)] if group else found


def split(jpeg: bytes) -> Parts | None:
    """The pieces of a JPEG; None where it cannot be joined (progressive, or with restart intervals of its own)."""
    at, frame = 2, (0, 0, 0, 0, 0)
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        (length,) = struct.unpack_from(">H", jpeg, at + 2)
        if marker == SOF0:
            frame = _frame(jpeg, at)
        elif marker == DRI or (0xC1 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return None
        end = at + 2 + length
        if marker == SOS:
            width, height, pitch, mcus, height_at = frame
            if not mcus or jpeg[-2:] != b"\xff\xd9":
                return None
            return Parts(
                header=jpeg[:end],
                height_at=height_at,
                scan_at=at,
                scan=jpeg[end:-2],
                width=width,
                height=height,
                pitch=pitch,
                mcus=mcus,
            )
        at = end
    return None


def _frame(jpeg: bytes, at: int) -> tuple[int, int, int, int, int]:
    """Width, height, pitch, MCUs, and where the height is, from a frame header."""
    height, width, components = struct.unpack_from(">HHB", jpeg, at + 5)
    samplings = [jpeg[at + 11 + 3 * i] for i in range(components)]
    # A single component is never interleaved: its MCU is one block whatever its sampling says.
    wide = 8 * max(s >> 4 for s in samplings) if components > 1 else 8
    high = 8 * max(s & 15 for s in samplings) if components > 1 else 8
    rows, columns = -(-height // high), -(-width // wide)
    return width, height, rows * high, rows * columns, at + 5


def _most(part: Parts) -> int:
    """How many crops of this form one file may hold."""
    return 1 if part.mcus > MOST_MCUS else max(1, min(CROPS_A_STRIP, MOST_ROWS // part.pitch))


def _join(parts: list[Parts]) -> Strip:
    first = parts[0]
    header = bytearray(first.header)
    interval = b""
    if len(parts) > 1:
        struct.pack_into(">H", header, first.height_at, first.pitch * len(parts))
        interval = struct.pack(">BBHH", 0xFF, DRI, 4, first.mcus)
    body = bytearray(first.scan)
    for number, part in enumerate(parts[1:]):
        body += bytes((0xFF, 0xD0 + number % 8))
        body += part.scan
    data = bytes(header[: first.scan_at]) + interval + bytes(header[first.scan_at :]) + bytes(body) + b"\xff\xd9"
    return Strip(data, len(parts), first.width, first.height, first.pitch)


# The gallery page's files: pictures in strips, data.js with every counted cell, maps.js with its maps.
#
# They are next to the slide's page and are loaded by script elements, since nothing can be fetched from disk. A donor's
# page loads those of its slides.


FOLDER = "gallery"
PAGE = "gallery.html"
STRATUM_CODES = {name: code for code, name in enumerate((*STRATA, OUTSIDE))}


@dataclass(frozen=True, slots=True)
class CellPage:
    """What a gallery page is told when it is made; the cells come from the slides' data.js.

    Attributes:
        name: of the slide or donor.
        kind: "Slide" or "Donor".
        back: link to the page of the slide or donor.
        up: link to the batch page.
        slides: (slide_id, name, folder of data.js as a link) of each slide shown.
        sign: link to the page of a slide's donor, where its result is signed; "" for none.
    """

    name: str
    kind: str
    back: str
    up: str
    slides: tuple[tuple[str, str, str], ...]
    sign: str = ""

    def data(self) -> dict[str, Any]:
        """What the page's script needs, as JSON values."""
        return {
            "kind": self.kind,
            "slides": [{"id": slide_id, "name": name, "base": base} for slide_id, name, base in self.slides],
            "evidence": _ramp(page_pictures.evidence_colours(np.linspace(-1, 1, page_pictures.LEVELS))),
            "attention": _ramp(page_pictures.attention_colours(np.linspace(0, 1, page_pictures.LEVELS))),
            "flags": dict(wording.FLAG_MEANINGS),
            "strata": list(STRATUM_CODES),
        }


def slide_files(
    record: SlideRecord,
    cells: Sequence[CalledCell],
    pictures: StoredCrops,
    queue: Queue,
    trail: Trail,
    *,
    around: Surroundings = NOWHERE,
    um_per_pixel: float | None = None,
) -> dict[str, bytes]:
    """The files of one slide's gallery, by their names in the slide's folder.

    Args:
        around: the fields of the cells.
        um_per_pixel: pixel size that a person gave for the slide; None takes that of the fields.

    Returns:
        `gallery/data.js`, `gallery/maps.js`, `gallery/s<k>.jpg`, and `gallery/f<k>.jpg` of fields; empty where no
        counted cell has a picture.
    """
    rows = [place.row for place in queue.places]
    crops = read_bytes(pictures.crops)
    jpegs = [_slice(crops, pictures.offsets[row]) for row in rows]
    if not jpegs or any(jpeg is None for jpeg in jpegs):
        return {}
    joined = strips(jpeg for jpeg in jpegs if jpeg is not None)
    files = {f"{FOLDER}/s{number:04d}.jpg": strip.data for number, strip in enumerate(joined)}
    maps = _map_records(pictures, rows)
    content = _content(record, cells, queue, trail)
    content |= around.data(rows) | _widths([cells[row].um_of_picture(um_per_pixel) for row in rows])
    files |= {f"{FOLDER}/{name}": picture for name, picture in around.pictures.items()}
    content["strips"] = [[strip.number, strip.width, strip.height, strip.pitch] for strip in joined]
    content["limit"] = _limit(maps)
    content["given"] = list(pictures.given)
    content["side"] = side = pictures.side
    content["box"] = [round(share, 6) for share in map_box(joined[0].width, side)]
    files[f"{FOLDER}/data.js"] = f"mnbatch.slide({_json(content)});\n".encode()
    packed = base64.b64encode(maps.tobytes()).decode("ascii")
    files[f"{FOLDER}/maps.js"] = f"mnbatch.maps({_json(record.slide_id)},{_json(packed)});\n".encode()
    return files


def _content(record: SlideRecord, cells: Sequence[CalledCell], queue: Queue, trail: Trail) -> dict[str, Any]:
    """All but the pictures: a list a column, in the order of the counted cells."""
    counted = [cells[place.row] for place in queue.places]
    prefix = os.path.commonprefix([cell.cell_id for cell in counted])  # noqa: RUF071 - letters are what is meant
    flags = sorted({flag for cell in counted for flag in cell.qc})
    probability = {place.stratum: place.inclusion_probability for place in queue.places}
    return {
        "id": record.slide_id,
        "key": queue.result_key,
        "model": queue.model_digest,
        "threshold": record.call.threshold if record.call else 0.5,
        "sizes": [queue.sizes[name] for name in STRATA],
        "probability": [probability.get(name) for name in STRATUM_CODES],
        "flagNames": flags,
        "prefix": prefix,
        "cell": [cell.cell_id[len(prefix) :] for cell in counted],
        "p": [round(cell.p_mn or 0.0, 6) for cell in counted],
        "mn": "".join("1" if cell.mn else "0" for cell in counted),
        "flags": {str(i): [flags.index(f) for f in cell.qc] for i, cell in enumerate(counted) if cell.qc},
        "stratum": "".join(str(STRATUM_CODES[place.stratum]) for place in queue.places),
        "rank": {str(i): p.rank for i, p in enumerate(queue.places) if p.rank is not None},
        "blind": {str(i): p.blind_rank for i, p in enumerate(queue.places) if p.blind_rank is not None},
        **({"twice": twice} if (twice := [i for i, p in enumerate(queue.places) if p.double]) else {}),
        "saved": saved_decisions(queue, trail),
        **({"mode": queue.mode} if queue.mode != "complete" else {}),
    }


def _widths(known: Sequence[float | None]) -> dict[str, Any]:
    """What each picture is wide, um, for the scale bar; nothing where no pixel size is known."""
    return {"um": [None if um is None else round(um, 2) for um in known]} if any(known) else {}


def _map_records(pictures: StoredCrops, rows: Sequence[int]) -> npt.NDArray[np.void]:
    records = np.fromfile(pictures.maps, map_record(pictures.side))
    positions = [pictures.positions[row] for row in rows]
    return records[[position for position in positions if position is not None]]


def _limit(records: npt.NDArray[np.void]) -> float:
    """As `heatmap.evidence_limit`, over all cells of the slide at once."""
    grids = records["evidence"].astype(np.float32) * (records["evidence_scale"] / 127)[:, None, None]
    return page_pictures.limit_of_peaks(np.abs(spread(grids)).max(axis=(1, 2)))


def _slice(data: bytes, place: tuple[int, int] | None) -> bytes | None:
    return None if place is None else data[place[0] : place[0] + place[1]]


def _ramp(colours: npt.NDArray[np.uint8]) -> list[int]:
    flat: list[int] = colours.reshape(-1).tolist()
    return flat


def _json(value: Mapping[str, Any] | str) -> str:
    # A name may end with "<" where a path goes on with "/": nothing in a script may look like the end of one.
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
