"""The fields of a slide on its page: small pictures with the cells marked, and what was found in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mnbatch.assay.calls import CalledCell
from mnbatch.assay.field_records import FieldCounts, FoundAt
from mnbatch.report import page_pictures, wording
from mnbatch.results.field_rows import StoredField
from mnbatch.results.records import SlideRecord
from mnbatch.results.store import Store
from mnbatch.results.stored_crops import StoredCrops

FIELDS_SHOWN = 8
CROPS_A_FIELD = 24

Key = tuple[str, int | None, str]
"""A cell's file, page and mark: the same in the list of found cells and in the scores."""


@dataclass(frozen=True, slots=True)
class BoxView:
    """One cell in a field's picture; lengths in pixels of the field.

    Attributes:
        kind: `mn`, `scored` or `other`.
        title: what a reader is told of it.
        anchor: id of its crop on the page; "" where none is shown.
    """

    left: int
    top: int
    width: int
    height: int
    kind: str
    title: str
    anchor: str


@dataclass(frozen=True, slots=True)
class CropView:
    """The crop of a cell that a box leads to."""

    anchor: str
    uri: str
    p_mn: float
    called: bool
    place: str


@dataclass(frozen=True, slots=True)
class FieldView:
    """One field."""

    name: str
    width: int
    height: int
    picture: str
    boxes: tuple[BoxView, ...]
    crops: tuple[CropView, ...]
    text: str


@dataclass(frozen=True, slots=True)
class FieldsView:
    """The section of a slide's page.

    Attributes:
        facts: label, number and detail.
        classes, not_scored: what, and how many cells.
        skipped: field, and why.
        shown: which of the fields are pictured.
    """

    facts: tuple[tuple[str, str, str], ...]
    classes: tuple[tuple[str, int], ...]
    not_scored: tuple[tuple[str, int], ...]
    skipped: tuple[tuple[str, str], ...]
    fields: tuple[FieldView, ...]
    shown: str


def fields_view(store: Store, record: SlideRecord, cells: Sequence[CalledCell], number: int) -> FieldsView | None:
    """What a slide's page says of its fields; None for crops.

    Args:
        number: cells that a gallery shows; 0 for a page without pictures.
    """
    if record.fields is None:
        return None
    counts = record.fields.counts()
    views: list[FieldView] = []
    if number and record.status == "scored" and cells:
        views = _field_views(store, record, cells)
    total = counts.fields - counts.empty - counts.skipped
    return FieldsView(
        facts=_facts(counts),
        classes=tuple((name.replace("_", " "), n) for name, n in (counts.classes or {}).items()),
        not_scored=tuple((counts.not_scored or {}).items()),
        skipped=tuple((left.path, left.reason) for left in record.fields.skipped),
        fields=tuple(views),
        shown=f"{len(views)} of {wording.plural(total, 'field')} with cells, those with most cells called MN",
    )


def key_of(source: str, page: int | None, found: FoundAt) -> Key:
    """What a found cell and its score have in common."""
    return source, page, found.mark


def called_by_key(cells: Iterable[CalledCell]) -> dict[Key, tuple[int, CalledCell]]:
    """Row and call of each scored cell."""
    return {
        key_of(cell.source, cell.page, cell.found): (row, cell)
        for row, cell in enumerate(cells)
        if cell.found is not None
    }


def _facts(counts: FieldCounts) -> tuple[tuple[str, str, str], ...]:
    aside = f"{wording.whole(counts.empty)} empty, {wording.whole(counts.skipped)} skipped"
    facts = [
        ("Fields", wording.whole(counts.fields), aside),
        ("Cells found", wording.whole(counts.found), f"{wording.whole(counts.excluded)} not scored"),
    ]
    division = counts.division()
    if division is not None and division.ndi is not None and division.cbpi is not None:
        parts = f"M1 {division.one}, M2 {division.two}, M3 {division.three}, M4+ {division.four}"
        facts += [("Division index", f"{division.ndi:.2f}", parts), ("CBPI", f"{division.cbpi:.2f}", "")]
    return tuple(facts)


def _field_views(store: Store, record: SlideRecord, cells: Sequence[CalledCell]) -> list[FieldView]:
    called = called_by_key(cells)
    fields = store.fields(record)
    found: dict[int, list[FoundAt]] = {}
    for field_number, cell in store.found(record):
        found.setdefault(field_number, []).append(cell)

    def mns(field: StoredField) -> int:
        places = (key_of(field.source, field.page, cell) for cell in found.get(field.number, ()))
        return sum(bool(called[key][1].mn) for key in places if key in called)

    pictured = [field for field in fields if field.overview is not None and field.number in found]
    chosen = sorted(pictured, key=lambda field: (-mns(field), field.number))[:FIELDS_SHOWN]
    pictures = store.crops(record)
    return [
        _field_view(field, store.overview(record, field), found[field.number], called, pictures)
        for field in sorted(chosen, key=lambda field: field.number)
    ]


def _field_view(
    field: StoredField,
    overview: bytes,
    found: Sequence[FoundAt],
    called: Mapping[Key, tuple[int, CalledCell]],
    pictures: StoredCrops | None,
) -> FieldView:
    scored = {cell.mark: called.get(key_of(field.source, field.page, cell)) for cell in found}
    best = sorted(
        ((mark, *entry) for mark, entry in scored.items() if entry is not None and entry[1].p_mn is not None),
        key=lambda entry: (not entry[2].mn, -(entry[2].p_mn or 0)),
    )
    crops = [_crop(field, mark, row, cell, pictures) for mark, row, cell in best[:CROPS_A_FIELD]]
    shown = [crop for crop in crops if crop is not None]
    anchors = {crop.anchor for crop in shown}
    boxes = tuple(_box(field, cell, scored[cell.mark], anchors) for cell in found)
    mn = sum(box.kind == "mn" for box in boxes)
    text = (
        f"{wording.plural(len(boxes), 'cell')} found, {wording.whole(len(best))} scored, {wording.whole(mn)} called MN"
    )
    name = wording.cell_label(field.source, field.page)
    if field.left or field.top:
        name += f", from {field.left}, {field.top}"
    return FieldView(
        name=name,
        width=field.width,
        height=field.height,
        picture=page_pictures.jpeg_uri(overview),
        boxes=boxes,
        crops=tuple(shown),
        text=text,
    )


def _crop(field: StoredField, mark: str, row: int, cell: CalledCell, pictures: StoredCrops | None) -> CropView | None:
    jpeg = None if pictures is None else pictures.jpeg(row)
    if not jpeg or cell.p_mn is None or cell.found is None:
        return None
    place = f"{cell.found.x:.0f}, {cell.found.y:.0f}"
    return CropView(_anchor(field, mark), page_pictures.jpeg_uri(jpeg), cell.p_mn, bool(cell.mn), place)


def _box(field: StoredField, cell: FoundAt, entry: tuple[int, CalledCell] | None, anchors: set[str]) -> BoxView:
    name = cell.cell_class.replace("_", " ")
    if entry is None or entry[1].p_mn is None:
        kind, title = "other", f"{name}: {cell.reason or 'not scored'}"
    else:
        call = "called MN" if entry[1].mn else "not called MN"
        kind, title = "mn" if entry[1].mn else "scored", f"{name}, p(MN) {wording.probability(entry[1].p_mn)}, {call}"
    anchor = _anchor(field, cell.mark)
    box = (cell.left - field.left, cell.top - field.top, cell.width, cell.height)
    return BoxView(*box, kind, title, anchor if anchor in anchors else "")


def _anchor(field: StoredField, mark: str) -> str:
    return f"f{field.number}-{mark[1:]}"
