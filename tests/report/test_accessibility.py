"""axe-core finds nothing on any page, light and dark."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnbatch.app.validation_service import make_dossier, write_dossier
from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.results.store import Store
from mnbatch.review.review_import import queues_of, save_decisions
from tests.browsers import accessibility_faults, axe_source
from tests.in_process import mnbatch
from tests.report.test_dose_pages import CURVE
from tests.report.test_surroundings import add_field_slide
from tests.review.conftest import decide

pytestmark = pytest.mark.browser

OPEN = "for (const part of document.querySelectorAll('details')) part.open = true"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, module_add_slide: Callable[..., object]) -> dict[str, Path]:
    """One page of each kind: donors with and without a dose, a slide that two people reviewed."""
    folder = tmp_path_factory.mktemp("pages")
    store = Store(folder / "out")
    module_add_slide(store, "a1", [0.9] * 6 + [0.55] * 2 + [None] + [0.1] * 31)
    module_add_slide(store, "a2", [0.9] * 40 + [0.1] * 160, keep_crops=False, first_digest=1000, donor="D2")
    add_field_slide(store)
    queue = queues_of(store, {"a1": None})["a1"]
    assert queue is not None
    for who, right in (("Ada", 6), ("Ben", 5)):

        def word(cell_id: str, right: int = right) -> str:
            return "mn" if int(cell_id[-8:-4]) < right else "not_mn"

        save_decisions(store, decide(queue, word, reviewer=who), "test")
    (folder / "curve.json").write_text(json.dumps(CURVE))
    mnbatch("dose", store.paths.root, "--curve", folder / "curve.json")
    build_reports(store, ReportOptions(gallery=6, min_cells=100))
    (folder / "p.toml").write_text("[limits]\nslides = 6\nscorer_kappa = 0.5\nconfirmed_share = 0.9\n")
    dossier = make_dossier(store.paths.root, protocol=folder / "p.toml")
    (donor,) = store.paths.donors.glob("D1-*")
    slide = store.paths.slide("a1").root
    return {
        "batch": store.paths.index,
        "donor": donor / "index.html",
        "sheet": donor / "sheet.html",
        "slide": slide / "index.html",
        "gallery": slide / "gallery.html",
        "fields": store.paths.slide("f1").root / "index.html",
        "validation": write_dossier(dossier, store.paths.root, folder / "dossier"),
    }


@pytest.mark.parametrize("kind", ["batch", "donor", "sheet", "slide", "gallery", "fields", "validation"])
def test_nothing_is_found(browser: Any, pages: dict[str, Path], kind: str) -> None:
    assert accessibility_faults(browser, pages[kind].as_uri(), axe_source(), OPEN) == []


def test_nothing_is_found_on_the_bench(browser: Any, pages: dict[str, Path]) -> None:
    address = pages["gallery"].as_uri() + "#review"
    browser.get("about:blank")
    assert accessibility_faults(browser, address, axe_source(), OPEN) == []
    settings = "document.getElementById('settings-open').click()"
    assert accessibility_faults(browser, address, axe_source(), settings) == []
