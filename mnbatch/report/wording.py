"""How numbers, statuses and quality flags are written for a reader; shared by pages and tables."""

from __future__ import annotations

from pathlib import PurePosixPath

NOT_KNOWN = "–"
"""Shown where there is no number: a failed slide has no frequency, and least of all a zero."""

STATUS_WORDS = {
    "done": "done",
    "partial": "partial",
    "insufficient": "insufficient",
    "failed": "failed",
    "waiting": "waiting",
}

STATUS_MEANINGS = {
    "done": "Every slide was counted.",
    "partial": "A slide failed or waits, or fields of one were skipped; the counts are those of the others.",
    "insufficient": "Fewer cells than --min-cells asks for: the counts are valid, the frequency is uncertain.",
    "failed": "No frequency could be given.",
    "waiting": "Nothing was scored yet: its slides are left to the next run.",
}

FLAG_MEANINGS = {
    "blurred": "Edges are soft for this contrast: the nucleus is probably out of focus.",
    "weak_stain": "Little contrast between nucleus and background.",
    "several_cells": "More main nuclei than one binucleated cell has.",
    "no_nucleus": "No main nucleus was found.",
    "border": "The cell or its crop reaches over the edge of its field; part of a nucleus may be missing.",
    "saturated": "Many nuclear pixels are at the end of the intensity range.",
}
"""Flags mark a cell for a reader and exclude nothing."""

ABBREVIATIONS = {
    "BN": "binucleated: a cell with two main nuclei, after one division",
    "MN": "micronucleus, micronuclei",
    "MNBN": "a binucleated cell with at least one micronucleus",
    "CI": "95 % interval",
    "Gy": "gray, the unit of dose",
    "P": "probability",
    "Se": "sensitivity: share of cells with MN that are called MN",
    "Sp": "specificity: share of cells without MN that are not called MN",
    "NDI": "nuclear division index: mean number of nuclei a cell",
    "CBPI": "cytokinesis-block proliferation index",
    "HUMN": "Human MicroNucleus project, whose frequencies of the general population are used",
}
"""What pages explain on hover and in a list for print."""

CLINICAL_NOTICE = "For research use. Not validated for clinical or diagnostic use."


def whole(number: int | None) -> str:
    """12480 -> '12 480' with narrow no-break spaces; None -> a dash."""
    return NOT_KNOWN if number is None else f"{number:,}".replace(",", "\u202f")


def rate(per_1000: float | None) -> str:
    """A frequency per 1000 cells with one decimal; None -> a dash."""
    return NOT_KNOWN if per_1000 is None else f"{per_1000:.1f}"


def probability(p: float | None) -> str:
    """Three decimals, never rounded up to a certainty that the network did not state."""
    if p is None:
        return NOT_KNOWN
    if p > 0.9995:
        return "> 0.999"
    if p < 0.0005:
        return "< 0.001"
    return f"{p:.3f}"


def percent(part: int, total: int) -> str:
    """Share with one decimal, '–' of nothing."""
    return NOT_KNOWN if total == 0 else f"{100 * part / total:.1f} %"


def plural(number: int, singular: str, several: str | None = None) -> str:
    """plural(1, 'slide') -> '1 slide', plural(3, 'slide') -> '3 slides'."""
    return f"{whole(number)} {singular if number == 1 else several or singular + 's'}"


def cell_label(source: str, page: int | None) -> str:
    """File name of a cell, with its page (counted from 0, as in cells.csv) where the file has several."""
    name = PurePosixPath(source).name
    return name if page is None else f"{name} #{page}"


def flag_meaning(flag: str) -> str:
    """One sentence on a quality flag; a flag of a later version is shown by its name."""
    return FLAG_MEANINGS.get(flag, flag.replace("_", " "))


def span(first: str, last: str) -> str:
    """Two moments as `moment` writes them; one where both are the same minute."""
    begin, end = moment(first), moment(last)
    return end if begin == end else f"{begin.removesuffix(' UTC')} to {end}"


def sex(mark: str) -> str:
    """A sample sheet's mark in words."""
    return {"f": "female", "m": "male"}.get(mark, mark)


def moment(iso: str) -> str:
    """'2026-03-01T04:05:06+00:00' -> '2026-03-01 04:05 UTC'; anything else stays as it is."""
    if len(iso) >= 16 and iso[10] == "T" and iso.endswith(("+00:00", "Z")):
        return f"{iso[:10]} {iso[11:16]} UTC"
    return iso
