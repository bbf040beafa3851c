"""Where `mnbatch review serve` is found: port and token of an OUT, the same at each start, and a report that is due.

A page that is open when the server ends finds the next one under the same address: what it holds and could not save
is sent then, and the browser's own store belongs to the same origin.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from dataclasses import asdict, dataclass, replace

from mnbatch.errors import StorageError
from mnbatch.intake import read_json
from mnbatch.results.out_files import write_atomically
from mnbatch.results.paths import OutPaths
from mnbatch.review.trail import writing

TOKEN_BYTES = 24
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,64}")


@dataclass(frozen=True, slots=True)
class ServedPlace:
    """What `OUT/serve.json` holds; its owner alone may read it.

    Attributes:
        port: of the latest server; 0 where there was none.
        token: what its address holds.
        due: decisions were saved and the reports were not made since.
    """

    port: int
    token: str
    due: bool = False


def read_place(paths: OutPaths) -> ServedPlace:
    """As the latest server of this OUT left it; a new token where there was none, or where the file is broken."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        data = read_json(paths.serve)
        port, token = data["port"], data["token"]
        if isinstance(port, int) and 0 <= port <= 65535 and isinstance(token, str) and _TOKEN.fullmatch(token):
            return ServedPlace(port, token, bool(data.get("due")))
    # A broken file may have said that a report is due: one more report does no harm.
    return ServedPlace(0, secrets.token_urlsafe(TOKEN_BYTES), due=paths.serve.exists())


def write_place(paths: OutPaths, place: ServedPlace) -> None:
    """Keep it; on the disk when this returns.

    Raises:
        StorageError: OUT cannot be written.
    """
    data = (json.dumps(asdict(place), indent=1) + "\n").encode()
    write_atomically(paths.serve, data, durable=True, private=True)


def set_due(paths: OutPaths, due: bool) -> None:
    """Note that reports are to be made, before what they are to show is saved; or that they were made.

    Raises:
        StorageError: OUT cannot be written.
    """
    place = read_place(paths)
    if place.due != due:
        write_place(paths, replace(place, due=due))


def check_writable(paths: OutPaths) -> None:
    """Whether decisions could be saved in this OUT.

    Raises:
        StorageError: they could not: it is read-only, full, or belongs to another user.
        LockHeldError: another holds the trail.
    """
    try:
        with writing(paths):
            write_place(paths, read_place(paths))
    except StorageError as error:
        raise StorageError(
            f"Decisions cannot be saved in {paths.root}: {error}",
            "Make OUT writable for this user, or open its pages from disk and save review.csv.",
        ) from error
