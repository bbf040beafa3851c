"""Templates to bytes. What a page needs is inline; nothing else may be loaded or run (CSP by hash)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from mnbatch import __version__
from mnbatch.report import wording
from mnbatch.report.donor_sheet import SheetView
from mnbatch.report.gallery_page import CellPage
from mnbatch.report.views import DonorPage, IndexPage, RowView, SlidePage

if TYPE_CHECKING:
    from mnbatch.report.validation_page import ValidationPage

GALLERY_SCRIPTS = ("data", "outbox", "state", "estimate", "pictures", "grid", "bench", "save", "keys", "main")
"""In the order in which they build on each other."""


@dataclass(frozen=True, slots=True)
class Assets:
    """Style and script, trusted (they are ours), with the hashes that allow them in the page's CSP."""

    css: Markup
    js: Markup
    css_hash: str
    js_hash: str
    gallery_css: Markup
    gallery_js: Markup
    gallery_css_hash: str
    gallery_js_hash: str
    sign_js: Markup
    sign_js_hash: str
    paged_css: Markup
    paged_js: Markup
    paged_css_hash: str
    paged_js_hash: str


def render_slide(page: SlidePage, stamp: str) -> bytes:
    """slides/<id>/index.html."""
    return _render("slide.html.j2", page, stamp)


def render_donor(page: DonorPage, stamp: str) -> bytes:
    """donors/<slug>/index.html."""
    return _render("donor.html.j2", page, stamp)


Rows = Callable[[RowView, tuple[object, ...], Callable[[], str]], str]
"""Gives a row as an earlier report made it, or has it made: its view, what it depends on beside that, its maker."""


def _made(row: RowView, shows: tuple[object, ...], make: Callable[[], str]) -> str:
    return make()


def render_index(page: IndexPage, stamp: str, rows: Rows = _made) -> bytes:
    """index.html."""
    macros: Any = _environment().get_template("macros.html.j2").module

    def of(name: str, those: Sequence[RowView], column: bool) -> Markup:
        macro, shows = getattr(macros, name), (name, repr(page.scale), column)
        return Markup("".join(rows(row, shows, partial(macro, row, page.scale, column)) for row in those))

    return _render(
        "index.html.j2",
        page,
        stamp,
        donor_rows=of("donor_row", page.donors, page.show_estimate),
        slide_rows=of("batch_slide_row", page.slides, page.show_dose),
    )


def render_gallery(page: CellPage, stamp: str) -> bytes:
    """slides/<id>/gallery.html and donors/<slug>/gallery.html."""
    return _render("gallery.html.j2", page, stamp)


def render_sheet(page: SheetView, stamp: str) -> bytes:
    """donors/<slug>/sheet.html, with a style of its own: it is made for one sheet of paper."""
    css = _asset("sheet.css")
    text = (
        _environment()
        .get_template("sheet.html.j2")
        .render(
            page=page,
            stamp=stamp,
            version=__version__,
            css=Markup(css),
            css_hash=_csp_hash(css),
            clinical_notice=wording.CLINICAL_NOTICE,
            abbreviations=tuple(wording.ABBREVIATIONS.items()),
        )
    )
    return text.encode("utf-8", "backslashreplace")


def render_validation(page: ValidationPage, stamp: str) -> bytes:
    """index.html of a validation's dossier."""
    return _render("validation.html.j2", page, stamp)


def href(path: str) -> str:
    """A relative path as it may be used in a link."""
    return quote(path, safe="/.")


def _render(
    template: str, page: SlidePage | DonorPage | IndexPage | CellPage | ValidationPage, stamp: str, **parts: Markup
) -> bytes:
    text = (
        _environment()
        .get_template(template)
        .render(
            page=page,
            stamp=stamp,
            version=__version__,
            assets=_assets(),
            clinical_notice=wording.CLINICAL_NOTICE,
            abbreviations=tuple(wording.ABBREVIATIONS.items()),
            **parts,
        )
    )
    # A file name that is not valid UTF-8 reaches us with lone surrogates, which no page can hold: they
    # are spelled out.
    return text.encode("utf-8", "backslashreplace")


_SHORT = re.compile(rf"\b({'|'.join(sorted(wording.ABBREVIATIONS, key=len, reverse=True))})\b")


def explained(text: str) -> Markup:
    """Our own words with their abbreviations explained on hover; everything else is escaped."""
    parts = _SHORT.split(text)
    shown = [
        Markup('<abbr title="{}">{}</abbr>').format(wording.ABBREVIATIONS[part], part) if number % 2 else escape(part)
        for number, part in enumerate(parts)
    ]
    return Markup("").join(shown)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mnbatch.report", "templates"),
        # Names come from a file system that others write to: everything is escaped, in every template.
        autoescape=select_autoescape(default=True, default_for_string=True, enabled_extensions=("html", "j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., object]] = {
        "whole": wording.whole,
        "rate": wording.rate,
        "probability": wording.probability,
        "tick": lambda number: f"{number:g}",
        "abbr": explained,
    }
    environment.filters |= filters
    return environment


@cache
def _assets() -> Assets:
    css, js, sign_js = (_asset(name) for name in ("report.css", "report.js", "sign.js"))
    gallery_css = css + _asset("gallery.css")
    gallery_js = "".join(_asset(f"gallery-{name}.js") for name in GALLERY_SCRIPTS)
    paged_css, paged_js = css + _asset("paging.css"), _asset("paging.js") + js
    return Assets(
        css=Markup(css),
        js=Markup(js),
        sign_js=Markup(sign_js),
        css_hash=_csp_hash(css),
        js_hash=_csp_hash(js),
        sign_js_hash=_csp_hash(sign_js),
        paged_css=Markup(paged_css),
        paged_js=Markup(paged_js),
        paged_css_hash=_csp_hash(paged_css),
        paged_js_hash=_csp_hash(paged_js),
        gallery_css=Markup(gallery_css),
        gallery_js=Markup(gallery_js),
        gallery_css_hash=_csp_hash(gallery_css),
        gallery_js_hash=_csp_hash(gallery_js),
    )


def _asset(name: str) -> str:
    return resources.files("mnbatch.report").joinpath("assets", name).read_text(encoding="utf-8")


def _csp_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
