"""Reference numbers of the developers' data (`../shared/vectors/dosimetry.json`); absent outside their checkout."""

import json
from functools import cache

import pytest

from tests.beside import needs_shared, shared_folder

_FILE = "vectors/dosimetry.json"


@cache
def _load():
    folder = shared_folder()
    if folder is None or not (folder / _FILE).is_file():
        return None
    return json.loads((folder / _FILE).read_text(encoding="utf-8"))


def section(name, tagged=None, where=lambda entry: True):
    """Entries of a section as rows for `parametrize`: all (None), or only those with or without a tag.

    Args:
        where: which of them.

    Where the file is absent one row is given that skips its test, saying so.
    """
    rows = [pytest.param(entry, marks=needs_shared) for entry in entries(name, tagged) if where(entry)]
    return rows if _load() is not None else _absent(1)


def entries(name, tagged=None):
    """Entries of a section as they are in the file; none where it is absent."""
    data = _load()
    if data is None:
        return []
    return [entry for entry in data["sections"][name] if tagged is None or bool(entry.get("tags")) == tagged]


def only(name, wanted):
    """The one entry of a section with this id.

    Raises:
        KeyError: there is none; the file may be absent.
    """
    return {entry["id"]: entry for entry in entries(name)}[wanted]


def with_case(name, wanted_by_case):
    """Rows of (case, entry) for `parametrize`: a case of ours and the id of the entry that it is compared with."""
    if _load() is None:
        return _absent(2)
    return [pytest.param(case, only(name, wanted), marks=needs_shared) for case, wanted in wanted_by_case.items()]


def _absent(arguments):
    skip = pytest.mark.skip(reason=f"there is no shared/{_FILE} beside the checkout")
    return [pytest.param(*[None] * arguments, marks=skip)]


def curves():
    """The named curves that entries refer to; None where the file is absent."""
    data = _load()
    return data and data["curves"]
