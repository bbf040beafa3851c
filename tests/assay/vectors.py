"""Reference numbers of the developers' data (`../shared/vectors/dosimetry.json`); absent outside their checkout."""

import json
from functools import cache
from pathlib import Path

import pytest

_FILE = Path("shared/vectors/dosimetry.json")


@cache
def _load():
    places = [parent / _FILE for parent in Path(__file__).resolve().parents]
    found = [place for place in places if place.is_file()]
    return json.loads(found[0].read_text(encoding="utf-8")) if found else None


def section(name, tagged=None):
    """Entries of a section, all (None), or only those with or without a tag.

    Where the file is absent one entry is given that skips its test, saying so.
    """
    data = _load()
    if data is None:
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"there is no {_FILE} beside the checkout"))]
    return [entry for entry in data["sections"][name] if tagged is None or bool(entry.get("tags")) == tagged]


def only(name, wanted):
    """The one entry of a section with this id, as a list for `parametrize`."""
    return [entry for entry in section(name) if not isinstance(entry, dict) or entry.get("id") == wanted]


def curves():
    """The named curves that entries refer to; None where the file is absent."""
    data = _load()
    return data and data["curves"]
