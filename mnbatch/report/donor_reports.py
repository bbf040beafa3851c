"""Writes the pages of donors where these are out of date."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import asdict
from pathlib import Path

from mnbatch.report import gallery_page, page_content, rendering
from mnbatch.report.derived_files import digest, page_stamp, remove_files
from mnbatch.report.items import DonorItem
from mnbatch.report.page_pictures import gallery_view
from mnbatch.report.sign_off_basis import with_basis
from mnbatch.report.slide_reports import SlideBuilder
from mnbatch.report.views import Place
from mnbatch.results.lock import check_still_held
from mnbatch.results.out_files import storage_errors, write_atomically
from mnbatch.results.paths import OutPaths


class DonorBuilder:
    """Brings donors' pages up to date one by one.

    Args:
        slides: the builder of their slides, which knows these by now.
        stated: what the laboratory states, as plain values.

    Attributes:
        built: number of donors whose pages were made again.
    """

    def __init__(self, slides: SlideBuilder, stated: Mapping[str, object]) -> None:
        self.slides = slides
        self.stated = stated
        self.built = 0
        self._beside: set[str] = set()
        self._asked: dict[str, str] = {}

    def out_of_date(self, donors: Iterable[DonorItem]) -> list[DonorItem]:
        """Donors whose pages were made of something else than what is there now."""
        asked = [(donor, self._stamp(donor)) for donor in donors]
        self._asked = {donor.folder: stamp for donor, stamp in asked}
        return [donor for donor, stamp in asked if not self._is_made(donor, stamp)]

    def were_made(self, folders: Set[str]) -> None:
        """Folders of donors of which another process has just made the pages."""
        self._beside |= folders
        self.built += len(folders)

    def write(self, donor: DonorItem) -> str:
        """Make the donor's pages again where they are out of date; the stamp of all that is shown of the donor."""
        paths = self.slides.store.paths
        check_still_held(paths.lock)
        stamp = self._asked.pop(donor.folder, "") or self._stamp(donor)
        if not self._is_made(donor, stamp):
            self._build(with_basis(donor), stamp)
            self.built += 1
        return stamp

    def _is_made(self, donor: DonorItem, stamp: str) -> bool:
        if self.slides.options.force and donor.folder not in self._beside:
            return False
        folder = self._folder(donor)
        return page_stamp(folder / "index.html") == page_stamp(folder / "sheet.html") == stamp

    def _folder(self, donor: DonorItem) -> Path:
        return self.slides.store.paths.donors / donor.folder

    def _place(self, donor: DonorItem) -> Place:
        return Place(donor.laboratory.text("laboratory.name"), self.slides.context.export)

    def _stamp(self, donor: DonorItem) -> str:
        options = self.slides.options
        return digest(
            donor.call.donor,
            [self.slides.stamps[item.record.slide_id] for item in donor.slides],
            options.min_cells,
            options.gallery,
            donor.dose.dosing.key if donor.dose else "",
            _numbers(donor),
            [asdict(one) for one in donor.signatures],
            donor.torn_signatures,
            donor.alike,
            donor.controls.state,
            self.stated,
            self._place(donor).export,
        )

    def _build(self, donor: DonorItem, stamp: str) -> None:
        folder = self._folder(donor)
        candidates = [cell for item in donor.slides for cell in self.slides.candidates(item.record)]
        gallery = _donor_gallery(self.slides.store.paths, donor)
        shown = gallery_view(candidates, self.slides.options.gallery)
        page = page_content.donor_page(donor, shown, gallery_page.PAGE if gallery else "", self._place(donor))
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        if gallery is None:
            remove_files(folder, [gallery_page.PAGE])
            folder.mkdir(parents=True, exist_ok=True)
        else:
            write_atomically(folder / gallery_page.PAGE, rendering.render_gallery(gallery, stamp))
        # A PDF is of the page that it was made of, and is removed with it.
        remove_files(folder, ["sheet.pdf"])
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "sheet.html", rendering.render_sheet(page_content.donor_sheet(donor), stamp))
        write_atomically(folder / "index.html", rendering.render_donor(page, stamp))


def _numbers(donor: DonorItem) -> str:
    """All that a donor's pages show beyond its slides, sign-offs and what the laboratory states."""
    pooled = (donor.call, donor.statistics, donor.heterogeneity, donor.dose, donor.confirmed, donor.slips, donor.review)
    return repr((*pooled, [(item.record.slide_id, item.call, item.statistics) for item in donor.slides]))


def _donor_gallery(paths: OutPaths, donor: DonorItem) -> gallery_page.CellPage | None:
    """The gallery over the slides that have one; their files are shared."""
    ids = [(item.record.slide_id, item.record.name) for item in donor.slides]
    shown = tuple(
        (slide_id, name, rendering.href(f"../../slides/{slide_id}/{gallery_page.FOLDER}/"))
        for slide_id, name in ids
        if (paths.slide(slide_id).root / gallery_page.PAGE).exists()
    )
    return gallery_page.CellPage(donor.call.donor, "Donor", "index.html", "../../index.html", shown) if shown else None
