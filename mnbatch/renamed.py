"""Names that an earlier version used for settings and options: still read until 0.4, with a warning."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

SETTINGS = {"keep_gallery": "keep_crops"}
"""Settings (of the command line, MNBATCH_* and settings files): old name -> name."""

INPUTS = {"gallery": "crops"}
"""Values of --input, and of the input that records and batch.json of earlier versions state: old -> new."""


class RenamedWarning(FutureWarning):
    """An old name was used; the text says the new one. The command line prints it as a line on stderr."""


def current_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings under the names of today; where both names are given, the one of today holds.

    Warns:
        RenamedWarning: for each old name.
    """
    found = {name: value for name, value in values.items() if name not in SETTINGS}
    for old in values.keys() & SETTINGS.keys():
        found.setdefault(SETTINGS[old], values[old])
        warn_renamed(option(old), option(SETTINGS[old]))
    if "input" in found:
        found["input"] = current_input(found["input"])
    return found


def current_input(value: Any) -> Any:
    """A value of --input as it is called today; warns like `current_settings`."""
    if not isinstance(value, str) or value not in INPUTS:
        return value
    warn_renamed(f"--input {value}", f"--input {INPUTS[value]}")
    return INPUTS[value]


def stored_input(value: Any) -> Any:
    """The input that a record or a batch.json states, as it is called today; there is no warning for stored names."""
    return INPUTS.get(value, value) if isinstance(value, str) else value


def warn_renamed(old: str, new: str) -> None:
    """Warn that an old name was used."""
    warnings.warn(f"{old} is called {new} now; version 0.4 removes the old name.", RenamedWarning, stacklevel=4)


def option(setting: str) -> str:
    """A setting as it is typed: keep_crops is taken back with --no-crops."""
    return f"--no-{setting.removeprefix('keep_')}" if setting.startswith("keep_") else "--" + setting.replace("_", "-")
