"""What slide, donor and batch pages say of a review."""

import html
import re
from dataclasses import replace

from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.review import trail
from mnbatch.review.decisions import Decision
from mnbatch.review.review_import import queues_of

OPTIONS = ReportOptions(gallery=2, min_cells=1)


def decide(store, slide_id, reviewer="Ada", word="not_mn"):
    queue = queues_of(store, {slide_id: None})[slide_id]
    return [
        Decision(slide_id, p.cell_id, word, None, reviewer, "2026-11-23T10:00:00+00:00", p.stratum,
                 p.inclusion_probability, queue.model_digest, queue.result_key)
        for p in queue.places
        if p.rank is not None
    ]  # fmt: skip


def save(store, slide_id, decisions):
    with trail.writing(store.paths):
        trail.append(store.paths, slide_id, decisions, "test")


def text(path):
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", path.read_text(encoding="utf-8"))))


def test_pages_say_that_nobody_has_reviewed(batch):
    build_reports(batch, OPTIONS)
    assert "These calls are not reviewed yet" in text(batch.paths.slide("a1").page)
    said = re.findall(r"(\w+ \w+ \w+) reviewed\b", text(batch.paths.index))
    assert set(said) <= {"no person has", "No person has", "calls are not"}, set(said)


def test_a_complete_review_stands_beside_the_automatic_number_everywhere(batch):
    for slide_id in ("a1", "a2"):
        save(batch, slide_id, decide(batch, slide_id))
    made = build_reports(batch, OPTIONS)
    assert made.slides_built
    page = text(batch.paths.slide("a1").page)
    assert "Every cell of the review's queue was decided" in page
    assert "Signature" in page
    (donor,) = batch.paths.donors.glob("D1-*/index.html")
    assert "Reviewed frequency" in text(donor)
    shown = re.findall(r"0\.0 0\.0–[0-9.]+ reviewed", text(batch.paths.index))
    assert len(shown) == 3  # two slides and their donor
    assert "52.6" in batch.paths.slides_csv.read_text(encoding="utf-8"), "the automatic number stays in the table"


def test_an_unfinished_review_shows_no_number(batch):
    save(batch, "a1", decide(batch, "a1")[1:])
    build_reports(batch, OPTIONS)
    page = text(batch.paths.slide("a1").page)
    assert "The review is not finished: 1 of" in page
    assert "Reviewed frequency" not in page
    assert "review unfinished" in text(batch.paths.index)


def test_only_pages_of_reviewed_slides_are_made_again(batch):
    build_reports(batch, OPTIONS)
    save(batch, "a1", decide(batch, "a1"))
    made = build_reports(batch, OPTIONS)
    assert (made.slides_built, made.donors_built) == (1, 1)


def test_differences_and_kappa_are_listed_and_names_are_text(batch):
    name = "<b>Bo</b>"
    save(batch, "a1", decide(batch, "a1"))
    other = decide(batch, "a1", name)
    save(batch, "a1", [replace(other[0], decision="mn"), *other[1:]])
    build_reports(batch, OPTIONS)
    page = batch.paths.slide("a1").page.read_text(encoding="utf-8")
    assert "<b>Bo</b>" not in page
    assert "&lt;b&gt;Bo&lt;/b&gt;" in page
    assert "1 cell decided differently" in page


def test_a_gallery_goes_when_its_slide_fails_or_none_is_wanted(batch):
    build_reports(batch, OPTIONS)
    folder = batch.paths.slide("a1").root
    assert (folder / "gallery" / "s0000.jpg").exists()
    assert 'href="gallery.html' in batch.paths.slide("a1").page.read_text(encoding="utf-8")
    build_reports(batch, ReportOptions(gallery=0, min_cells=1))
    assert not (folder / "gallery").exists()
    assert not (folder / "gallery.html").exists()
    build_reports(batch, OPTIONS)
    batch.put_record(batch.record("a1").model_copy(update={"status": "failed", "reason": "x", "generation": None}))
    build_reports(batch, OPTIONS)
    assert not (folder / "gallery").exists()
    page = batch.paths.slide("a1").page
    assert 'href="gallery.html' not in page.read_text(encoding="utf-8")
