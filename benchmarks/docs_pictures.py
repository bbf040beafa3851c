"""The pictures of docs/review.md, docs/operations.md and docs/validation.md, made again.

    python benchmarks/docs_pictures.py [--only NAME] [--keep OUT]

A small OUT of simulated cells with made-up scores: four donors, two of them reviewed by two people, doses from a
made-up curve, a slide of fields, a slide that failed. Its pages are shown in headless Chromium, as a person finds them,
and kept as WebP in docs/images. Chromium and its driver must be installed; nothing needs a network or a window.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gallery import browser
from gallery_store import QUALITY, add_slide, as_rgb, pictures, record, scores_of
from PIL import Image

from mnbatch.app.review_service import served
from mnbatch.assay.cells import CellCrop, CellScore
from mnbatch.assay.field_records import FieldReport, FoundAt
from mnbatch.assay.sample_sheet import SampleRow
from mnbatch.results.annotations import save_samples
from mnbatch.results.records import FieldsStamp, SlideRecord
from mnbatch.results.store import Store
from mnbatch.review.decisions import Decision
from mnbatch.review.queue import Queue, ReviewPlan, save_plan
from mnbatch.review.review_import import queues_of, save_decisions
from mnbatch.simulate.cell_drawing import CellSpec, simulate_cell
from mnbatch.simulate.slide_appearance import draw_slide_appearance

IMAGES = Path(__file__).parents[1] / "docs" / "images"
DONORS = {"D01": 0.012, "D02": 0.03, "D03": 0.08}
"""Share of cells with a micronucleus."""
CELLS = 500
FIELD, PART, UM = (1200, 1600), 160, 0.325
"""Height and width of a field, width of a cell's crop, px; um a pixel."""
CURVE = {
    "name": "Made-up curve",
    "model": "linear-quadratic",
    "endpoint": "mnbn",
    "coefficients": {"C": 0.02, "alpha": 0.02, "beta": 0.012},
    "covariance": [[1e-6, -1e-6, 0], [-1e-6, 8e-6, -2e-6], [0, -2e-6, 1e-6]],
    "dose_range": [0, 4],
    "scoring": {"mode": "automated (mnbatch)", "model_digest": "0" * 64, "threshold": 0.5},
}
PEOPLE = {"D01": ("f", 34.0), "D02": ("m", 51.0), "D03": ("f", 45.0), "D04": ("m", 29.0), "D05": ("f", 60.0)}
"""Sex and age, years."""
DETAILS = {
    "exposure_date": "2026-10-19",
    "sampling_date": "2026-10-21",
    "arrival_date": "2026-10-22",
    "culture_date": "2026-10-22",
    "report_date": "2026-11-02",
    "requester": "Example Hospital",
    "operator": "A. Muster",
    "smoking": "no",
}
LABORATORY = """[laboratory]
name = "Institute of Examples, Cytogenetics"
address = "Sample Street 1, 12345 Town"
[method]
protocol = "SOP 12, version 3"
culture = "whole blood, 72 h at 37 °C"
cytochalasin = "6 µg/ml, 24 h after the start"
stain = "DAPI"
[report]
signatures = ["Scored by", "Checked by", "Head of the laboratory"]
"""
LIMITS = """[study]
title = "Simulated slides, made-up scores"
samples = "3 donors, 2 slides each"
[limits]
slides = 6
sensitivity = 0.60
specificity = 0.95
confirmed_share = 0.50
scorer_kappa = 0.70
blind_samples = 10
"""


def make_out(folder: Path) -> Store:
    """An OUT as a laboratory has it in the middle of its work, and a dossier next to it."""
    store = Store(folder / "out")
    truth = {}
    for number, (donor, share) in enumerate(DONORS.items()):
        for letter in "ab":
            rng = np.random.default_rng([number, ord(letter)])
            slide, has = f"{donor}-{letter}", rng.random(CELLS) < share
            add_slide(store, slide, donor, scores_of(has, rng), has, pictures("fluorescence", 1 + number))
            truth[slide] = has
    add_field_slide(store)
    broken = record("D05-a", "D05").model_copy(update={"status": "failed", "call": None, "scored": None, "model": None})
    store.put_record(
        broken.model_copy(update={"reason": "412 of 1000 cells cannot be read", "next_step": "Scan it again."})
    )
    slides = [*truth, "D04-fields", "D05-a"]
    save_samples(store.paths, {slide: sample(slide) for slide in slides})
    save_plan(store.paths, ReviewPlan(band=0.02, sample=0.05))
    for donor in ("D02", "D03"):
        review(store, donor, truth)
    (folder / "curve.json").write_text(json.dumps(CURVE))
    (folder / "laboratory.toml").write_text(LABORATORY, encoding="utf-8")
    lines = [
        f"{slide}:{slide[:3]}/{slide}/cell_{i:05d}.tif,{int(has)}"
        for slide, all_ in truth.items()
        for i, has in enumerate(all_)
    ]
    (folder / "cells.csv").write_text("\n".join(["cell_id,truth", *lines]) + "\n")
    mnbatch(
        "report", store.paths.root, "--laboratory", folder / "laboratory.toml", "--validation", folder / "cells.csv"
    )
    mnbatch("dose", store.paths.root, "--curve", folder / "curve.json")
    return store


def sample(slide: str) -> SampleRow:
    """A line of the sample sheet."""
    donor = slide[:3]
    sex, age = PEOPLE[donor]
    number = {"request_number": f"R-{donor[1:]}/2026", "report_number": f"MN-2026-{donor[1:]}"}
    return SampleRow(slide, donor, culture=slide[-1:], sex=sex, age=age, details=DETAILS | number)


def mnbatch(*arguments: object) -> None:
    """A command; that something failed (exit 3) belongs to the picture."""
    done = subprocess.run(
        [sys.executable, "-m", "mnbatch", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 3):
        raise SystemExit(f"mnbatch {arguments[0]}: exit code {done.returncode}: {done.stderr}")


def add_field_slide(store: Store) -> None:
    """Fields of a camera with ten cells each."""
    rng = np.random.default_rng(7)
    stain, number = draw_slide_appearance(rng, "fluorescence"), 8
    counts: dict[str, Any] = {"fields": number, "empty": 0, "classes": {"binucleated": 10 * number}, "um_per_pixel": UM}
    made = record("D04-fields", "D04").model_copy(
        update={"input": "fields", "fields": FieldsStamp(cells="binucleated", **counts)}
    )
    with store.writer(made.slide_id, keep_crops=True) as writer:
        for at in range(number):
            _add_field(writer, made, at, rng, stain)
        writer.commit(made)


def _add_field(writer: Any, made: SlideRecord, at: int, rng: np.random.Generator, stain: Any) -> None:
    source, (height, width) = f"D04/fields/field_{at:03d}.tif", FIELD
    picture = rng.normal(14, 3, FIELD)
    places = [
        (int(200 + 300 * c + rng.integers(-60, 60)), int(250 + 450 * r + rng.integers(-90, 90)))
        for r in range(2)
        for c in range(5)
    ]
    drawn = []
    for x, y in places:
        has = rng.random() < 0.15
        cell = as_rgb(
            simulate_cell(rng, CellSpec(stain="fluorescence", n_mn=int(has), size=PART, neighbours=0), stain).image
        )[..., 0]
        part = picture[y - PART // 2 : y + PART // 2, x - PART // 2 : x + PART // 2]
        np.maximum(part, cell, out=part)
        drawn.append(has)
    seen = np.clip(picture, 0, 255).astype(np.uint8)
    found = tuple(_found(x, y) for x, y in places)
    for number, (cell, has) in enumerate(zip(found, drawn, strict=True)):
        x, y = places[number]
        crop = Image.fromarray(seen[y - PART // 2 : y + PART // 2, x - PART // 2 : x + PART // 2]).resize((224, 224))
        pixels = np.repeat(np.asarray(crop)[..., None], 3, axis=2)
        name, digest = f"{made.slide_id}:{source}{cell.mark}", f"{1000 * at + number + 1:032x}"
        scored = CellCrop(
            made.slide_id, name, source, None, pixels, digest, "fluorescence", QUALITY, found=cell, size=(PART, PART)
        )
        p, maps = float(scores_of(np.array([has]), rng)[0]), np.abs(rng.normal(0, 0.05, (3, 13, 13))).astype(np.float32)
        writer.add(CellScore(scored, p, maps))
    overview = io.BytesIO()
    Image.fromarray(seen).resize((width // 2, height // 2)).save(overview, "JPEG", quality=80)
    size = {"left": 0, "top": 0, "width": width, "height": height}
    writer.add_field(FieldReport(made.slide_id, source, None, **size, cells=found, overview=overview.getvalue()))


def _found(x: int, y: int) -> FoundAt:
    known: dict[str, Any] = {
        "cell_class": "binucleated",
        "reason": "",
        "nuclei": 2,
        "nucleus_area": 2400,
        "cell_area": 9000,
    }
    box = {"left": x - 60, "top": y - 60, "width": 120, "height": 120}
    return FoundAt(x=x, y=y, **box, **known, at_border=False, um_per_pixel=UM)


def review(store: Store, donor: str, truth: dict[str, Any]) -> None:
    """Two people decide the queue of a donor's slides; each slips in one of fifty cells."""
    queues = [
        queue for queue in queues_of(store, dict.fromkeys(f"{donor}-{letter}" for letter in "ab")).values() if queue
    ]
    for seed, who in enumerate(("Ada Muster", "Ben Beispiel")):
        rng = np.random.default_rng(seed)
        for queue in queues:
            save_decisions(store, list(_decisions(queue, who, truth[queue.slide_id], rng)), "simulated review")


def _decisions(queue: Queue, who: str, truth: Any, rng: np.random.Generator) -> Iterator[Decision]:
    for place in queue.places:
        if place.rank is None:
            continue
        has = bool(truth[int(place.cell_id[-9:-4])]) != (rng.random() < 0.02)
        yield Decision(
            slide_id=queue.slide_id, cell_id=place.cell_id, decision="mn" if has else "not_mn",
            count=1 if has else None,
            reviewer=who, time="2026-11-02T09:30:00+00:00", stratum=place.stratum,
            inclusion_probability=place.inclusion_probability, model_digest=queue.model_digest,
            result_key=queue.result_key,
        )  # fmt: skip


@dataclass(frozen=True)
class Shot:
    """A picture: where the page is, how large the window, what is done before (and waited for), what is scrolled to.

    Attributes:
        served: of a page whose server has gone after nine decisions.
    """

    name: str
    page: str
    size: tuple[int, int]
    dark: bool = False
    before: str = ""
    until: str = "true"
    served: bool = False
    part: str = ""


NAMED = "const w = document.getElementById('reviewer'); w.value = 'Cy Test'; w.dispatchEvent(new Event('change'));"
PRESS = "const press = (key) => document.body.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));"
READY = "document.body.dataset.ready === 'true'"
WORK = f"""{NAMED}{PRESS} press('r'); let left = 9;
const go = () => {{
  if ({READY}) {{ press(left % 3 ? 'n' : '1'); left--; }}
  if (left) setTimeout(go, 60); else window.worked = true;
}};
go();"""
WORKED = f"window.worked && {READY}"
FIELDS = "slides/D04-fields/gallery.html"
SHOTS = (
    Shot("review-look", "slides/D02-a/gallery.html", (1366, 768), until=READY),
    Shot("review-bench", "slides/D02-a/gallery.html", (1366, 768), dark=True, before=WORK, until=WORKED),
    Shot("review-phone", "slides/D02-a/gallery.html", (375, 760), dark=True, before=WORK, until=WORKED),
    Shot("review-scale", FIELDS, (1366, 768), before=f"{NAMED}{PRESS} press('r'); press('h');", until=READY),
    Shot("review-context", FIELDS, (1366, 768), before=f"{NAMED}{PRESS} press('r'); press('y');",
         until="document.getElementById('context-picture').complete && document.getElementById('context').open"),
    Shot("review-unsaved", "slides/D01-a/gallery.html", (1366, 768), served=True,
         until="!document.getElementById('banner').hidden"),
    Shot("review-section", "donors/D02/index.html", (1100, 640), part="#review"),
    Shot("operations-batch", "index.html", (1366, 900), part="#donors"),
    Shot("operations-donor", "donors/D03/index.html", (1366, 900)),
    Shot("operations-sheet", "donors/D03/sheet.html", (900, 1180)),
    Shot("validation-dossier", "../dossier/index.html", (1100, 1000), part="#limits"),
)  # fmt: skip


def settle(driver: Any, condition: str) -> None:
    """Until a page is as it is to be shown; a minute at most."""
    end = time.monotonic() + 60
    while not driver.execute_script(f"return {condition}"):
        if time.monotonic() > end:
            raise SystemExit(f"it did not happen within a minute: {condition}")
        time.sleep(0.1)
    driver.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0], 50))")


def page_of(store: Store, name: str) -> Path:
    """The file of a page; donors' folders have names of their own."""
    kind, *rest = name.split("/")
    if kind != "donors":
        return (store.paths.root / name).resolve()
    (folder,) = [one for one in store.paths.donors.iterdir() if one.name.startswith(rest[0])]
    return folder / rest[1]


def show(driver: Any, store: Store, shot: Shot) -> bytes:
    """The page in the state that is asked for, as PNG."""
    width, height = shot.size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"features": [{"name": "prefers-color-scheme", "value": "dark" if shot.dark else "light"}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
    if shot.served:
        # Of a copy: what is decided for a picture is no part of OUT.
        with (
            tempfile.TemporaryDirectory() as name,
            served(shutil.copytree(store.paths.root, Path(name) / "out")) as server,
        ):
            driver.get(server.address.replace("index.html", shot.page))
            driver.execute_script(WORK)
            settle(driver, f"{WORKED} && !mnbatch.save.fresh().length")
        # The server has gone: the next decision cannot be saved.
        driver.execute_script(f"{PRESS} press('n');")
    else:
        driver.get(page_of(store, shot.page).as_uri())
        driver.execute_script(shot.before)
    settle(driver, shot.until)
    if shot.part:
        driver.execute_script(
            "const box = document.querySelector(arguments[0]).getBoundingClientRect(); scrollTo(0, box.top - 12);",
            shot.part,
        )
        settle(driver, "true")
    picture: bytes = driver.get_screenshot_as_png()
    driver.execute_script("localStorage.clear(); sessionStorage.clear(); window.onbeforeunload = null;")
    driver.get("about:blank")
    return picture


def main() -> None:
    """Make the pictures and say how large they are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="the one of this name")
    parser.add_argument("--keep", type=Path, help="folder for OUT; used again where it is there")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = asked.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        store = Store(folder / "out") if (folder / "dossier").is_dir() else make_all(folder)
        driver = browser()
        try:
            for shot in SHOTS:
                if asked.only in (None, shot.name):
                    picture = Image.open(io.BytesIO(show(driver, store, shot))).convert("RGB")
                    path = IMAGES / f"{shot.name}.webp"
                    picture.save(path, "WEBP", quality=70, method=6)
                    print(
                        f"{path.name} {picture.width} x {picture.height}, {path.stat().st_size / 1000:.0f} kB",
                        flush=True,
                    )
        finally:
            driver.quit()


def make_all(folder: Path) -> Store:
    """OUT and the dossier of a validation."""
    store = make_out(folder)
    (folder / "limits.toml").write_text(LIMITS, encoding="utf-8")
    (folder / "blind.csv").write_text("donor,dose_gy\nD01,0\nD02,0.8\nD03,1.9\n")
    mnbatch(
        "validate",
        store.paths.root,
        "--out",
        folder / "dossier",
        "--protocol",
        folder / "limits.toml",
        "--blind",
        folder / "blind.csv",
    )
    return store


if __name__ == "__main__":
    main()
