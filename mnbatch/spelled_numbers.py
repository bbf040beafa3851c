"""Numbers as people and spreadsheets spell them: read rightly, or refused where a spelling has two readings.

A mark between groups of three digits (1,000; 1.000; 1 000; 1'000) is a thousand in one country and a fraction in
another. Nothing here guesses which. Codes that a spreadsheet has replaced (an error, a number, a day, a truth value)
are known here, too: all lines that hold the same one would be one donor.
"""

from __future__ import annotations

import math
import re

from mnbatch.intake import short

_WHOLE = re.compile(r"\+?(0|[1-9][0-9]{0,8})(?:[.,](0+))?")
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:[.,'\s_\u2019\u00b7][0-9]{3})+(?:[.,][0-9]*)?")
_DECIMAL = re.compile(r"[+-]?(?:([0-9]+)(?:([.,])([0-9]*))?|[.,][0-9]+)(?:[eE]([+-]?[0-9]{1,3}))?")
_POWER = re.compile(r"\+?([0-9])(?:[.,]([0-9]+))?[eE]\+?0*([0-9]{1,2})")
_DATE = re.compile(
    r"[0-9]{1,4}[-./ ]+[^\W\d_]{3,9}\.?(?:[-./ ]+[0-9]{2,4})?|[^\W\d_]{3,9}\.?[- ][0-9]{2,4}"
    r"|[0-9]{1,4}[-/][0-9]{1,2}(?:[-/][0-9]{1,4})?|[0-9]{1,2}\.[0-9]{1,2}\.(?:[0-9]{2,4})?"
)
_MONTH = re.compile(
    r"jan|[gei][ea]n|feb|f[eé]v|m[aä]r|mrz|a[pbv]r|ma[yijg]|mei|jui?[nl]|giu|lug|a[uvg][go]|ao[uû]|se[pt]|o[ckt]t|out|nov|"
    r"d[eéi][cz]|янв|фев|мар|апр|май|июн|июл|авг|сен|окт|ноя|дек",
    re.IGNORECASE,
)
"""How names of months begin."""

_SPOILED = re.compile(r"[0-9](?:[.,][0-9]+)?E\+[0-9]{2}")
_ERROR_VALUE = re.compile(
    r"#[\u00a1\u00bf]?[^\W\d_][\w/ ]*[!?]|#[^\W\d_]/[^\W\d_]|#N[VD]|#GETTING_DATA|#{2,}|Err:[0-9]{3}", re.IGNORECASE
)
"""`#REF!`, `#DIV/0!`, `#NAME?` and `#N/A` in any language, a column that is too narrow, and what LibreOffice writes."""
_TRUTH_VALUES = {"true", "false", "wahr", "falsch", "vrai", "faux", "verdadero", "falso", "waar", "onwaar"}
_NOTHING = {"NA", "None", "NULL", "NaT", "<NA>", "<na>"}
"""What programs write for an empty field, besides NaN and n/a; in other case they may be codes."""
_CODE_AS_DAY = re.compile(r"(?:0?[1-9]|[12][0-9]|3[01])[-./ ]+([^\W\d_]{3,9})\.?|([^\W\d_]{3,9})\.?[-./ ]+[0-9]{2}")
"""`01-Mar`, `Mar-01`, `1. Mrz`: without a year, or without a day, nobody means a day by it."""
_MONTH_WORD = re.compile(
    "jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec|january|february|march|april|june|july|august|september|october|"
    "november|december|mär|mrz|märz|mai|juni|juli|okt|dez|januar|februar|oktober|dezember|janv|févr|mars|avr|avril|juin|"
    "juil|juillet|août|déc|ene|abr|ago|dic|gen|mag|giu|lug|set|ott|mrt|mei|maj|fev|out|"
    "янв|фев|мар|апр|май|июн|июл|авг|сен|окт|ноя|дек",
    re.IGNORECASE,
)
"""Names of months as spreadsheets write them: whole words, since `Marker 12` and `Maria-01` are codes."""
_TIME = r"(?:[ T]+[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)?"
_DAY_FIRST = re.compile(r"([0-9]{1,2})([-./])([0-9]{1,2})\2([0-9]{4}|[0-9]{2})" + _TIME)
_YEAR_FIRST = re.compile(r"[0-9]{4}([-./])([0-9]{1,2})\1([0-9]{1,2})" + _TIME)
_DAY_IN_WORDS = re.compile(
    r"[0-9]{1,2}[-./ ]+([^\W\d_]{3,9})\.?[-./ ,]+(?:[0-9]{4}|[0-9]{2})"
    r"|([^\W\d_]{3,9})\.?[-./ ]+(?:[0-9]{1,2}[-./ ,]+)?[0-9]{4}"
)
_LAST_DAY, _LAST_MONTH = 31, 12
_WRITTEN_PLAINLY = "write it without marks between digits, such as 1000"


class SpellingError(ValueError):
    """Why a text is no number that can be used; a short sentence without a full stop."""


def count_of(text: str, what: str) -> int:
    """A count: a whole number of 0 or more ("12", or "12.0" as programs write it).

    Args:
        what: the column, for the message.

    Raises:
        SpellingError: empty, negative, a fraction, grouped in thousands, or no number.
    """
    text = text.strip()
    if not text:
        raise SpellingError(f"{what} is empty")
    found = _WHOLE.fullmatch(text)
    # Three zeros after 1 to 3 digits may be a thousand; nobody groups after a single 0.
    if found and (len(found[2] or "") != 3 or found[1] == "0"):
        return int(found[1])
    shown = short(text)
    if _GROUPED.fullmatch(text):
        raise SpellingError(f"{what} = {shown} may be a number in thousands or a fraction: {_WRITTEN_PLAINLY}")
    power = _POWER.fullmatch(text)
    if power:
        return _all_digits(power, f"{what} = {shown}")
    raise SpellingError(f"{what} = {_why_no_count(text, shown)}")


def _why_no_count(text: str, shown: str) -> str:
    if re.fullmatch(r"\+?0[0-9]+", text):
        return f"{shown} begins with 0, as a part of a number in thousands does: {_WRITTEN_PLAINLY}"
    if re.fullmatch(r"[0-9]{10,}", text):
        return f"{shown} is larger than any count"
    try:
        value = decimal_of(text, ",", "")
    except SpellingError:
        return f"'{shown}' is not a number{_date_hint(text)}"
    return f"{shown} is negative" if value < 0 or text.startswith("-") else f"{shown} is not a whole number"


def _all_digits(power: re.Match[str], where: str) -> int:
    """1.025E+03 has all its digits; 1E+03 may have been 1025 before a spreadsheet showed it so."""
    decimals, exponent = power[2] or "", int(power[3])
    if len(decimals.rstrip("0")) > exponent:
        raise SpellingError(f"{where} is not a whole number")
    if len(decimals) < exponent or exponent > 8:
        raise SpellingError(f"{where} may have lost digits: format the column as a number without decimals")
    return int(power[1] + decimals[:exponent])


def decimal_of(text: str, separator: str, what: str) -> float:
    """A finite number; a decimal comma is one where it cannot stand between thousands.

    Args:
        separator: of the table. With commas between fields a point is a decimal point; with semicolons or tabs
            1.250 and 1,250 are both refused, since either may be a thousand.
        what: the column, for the message.

    Raises:
        SpellingError: empty, no finite number, or one that has two readings.
    """
    text = text.strip()
    if not text:
        raise SpellingError(f"{what} is empty")
    found = _DECIMAL.fullmatch(text)
    if not found and not _GROUPED.fullmatch(text):
        raise SpellingError(f"{what} '{short(text)}' is not a number that can be used{_date_hint(text)}")
    if not found or _two_readings(found, separator):
        raise SpellingError(
            f"{what} '{short(text)}' is not a number that can be used: it may be in thousands or a fraction; write it "
            "with another number of decimals, and without marks between thousands"
        )
    value = float(text.replace(",", "."))
    if not math.isfinite(value):
        raise SpellingError(f"{what} '{short(text)}' is not a number that can be used: it is too large")
    return value


def _two_readings(found: re.Match[str], separator: str) -> bool:
    """Whether a mark before exactly three digits may stand between thousands."""
    digits, mark, decimals = found[1] or "", found[2], found[3] or ""
    grouped = len(decimals) == 3 and 1 <= len(digits) <= 3 and not digits.startswith("0")
    return grouped and found[4] is None and (mark == "," or separator != ",")


def spoiled_name(text: str) -> str:
    """Why a code or name is one that a spreadsheet, or a program that saved the table, has put in place of another.

    A sentence without a full stop; "" where it is not. Days with a year are no such thing: see `is_day_name`.
    """
    bare = text.strip()
    shown = short(text)
    found = _CODE_AS_DAY.fullmatch(bare)
    if found and _is_month(found[1] or found[2]):
        return f"'{shown}' was another code before a spreadsheet made a date of it: format the column as text"
    if bare.casefold() in _TRUTH_VALUES:
        return f"'{shown}' is a truth value that a spreadsheet writes, not a code: format the column as text"
    if bare in _NOTHING or bare.casefold() in ("nan", "n/a"):
        return f"'{shown}' is what programs write for an empty field, not a code"
    return failed_value(text)


def failed_value(text: str) -> str:
    """As `spoiled_name`, for names that may well be a day or a word: an error, or digits that are lost."""
    bare = text.strip()
    if _ERROR_VALUE.fullmatch(bare):
        return f"'{short(text)}' is a spreadsheet's error, not a code: mend the formula or the width of its column"
    if _SPOILED.fullmatch(bare):
        return f"'{short(text)}' was a longer code before a spreadsheet made a number of it: format the column as text"
    return ""


def is_day_name(text: str) -> bool:
    """Whether a name is a day with its year: `2026-03-01`, `01.03.2026`, `3/1/26`, `1 March 2026`."""
    bare = text.strip()
    if found := _DAY_FIRST.fullmatch(bare):
        # 01-02-03 is a donor, a culture and a slide rather than a day.
        low, high = sorted((int(found[1]), int(found[3])))
        return 1 <= low <= _LAST_MONTH and high <= _LAST_DAY and (found[2] != "-" or len(found[4]) > 2)
    if found := _YEAR_FIRST.fullmatch(bare):
        return 1 <= int(found[2]) <= _LAST_MONTH and 1 <= int(found[3]) <= _LAST_DAY
    found = _DAY_IN_WORDS.fullmatch(bare)
    return found is not None and _is_month(found[1] or found[2])


def _is_month(word: str) -> bool:
    """Spreadsheets write no month in capitals alone: SET-01 and 12-GEN are codes."""
    return _MONTH_WORD.fullmatch(word) is not None and not word.isupper()


def _date_hint(text: str) -> str:
    """A date is written in many languages, but no unit and no `cells` begins as its months do."""
    words = re.findall(r"[^\W\d_]{3,9}", text)
    if not _DATE.fullmatch(text) or not all(map(_MONTH.match, words)):
        return ""
    return "; a spreadsheet makes dates of numbers: format the column as text"
