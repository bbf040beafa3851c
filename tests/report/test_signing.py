"""Signing a donor's result: what it binds, what is refused, and what marks it as outdated."""

import html
import json
import re
import threading
from dataclasses import replace

import pytest

from mnbatch.app import rebuild
from mnbatch.app.signing_service import SignRequest, sign_donor
from mnbatch.errors import LockHeldError, MismatchError, UsageError
from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.results.lock import hold_lock
from mnbatch.results.paths import OutPaths
from mnbatch.review import trail
from mnbatch.review.review_import import queues_of
from mnbatch.review.sign_offs import read_signatures
from tests.in_process import mnbatch
from tests.report.test_dose_pages import CURVE
from tests.report.test_reviews import decide, save

OPTIONS = ReportOptions(gallery=0, min_cells=1)
MARKUP = "<script>alert(1)</script>"


@pytest.fixture
def reviewed(batch):
    """Donor D1 with both slides reviewed."""
    for slide_id in ("a1", "a2"):
        save(batch, slide_id, decide(batch, slide_id))
    return batch


def sign(store, name="Ada", donor="D1", **fields):
    done = sign_donor(store, SignRequest(donor, name, **fields), OPTIONS)
    return done.signature, done.added


def pages(store):
    (folder,) = store.paths.donors.glob("D1-*")
    return [(folder / name).read_text(encoding="utf-8") for name in ("index.html", "sheet.html")]


def text(page):
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


def row(store, read_csv):
    build_reports(store, OPTIONS)
    found = next(row for row in read_csv(store.paths.donors_csv) if row["donor"] == "D1")
    return found["signature_status"], found["signed_by"], found["signed_at"]


def test_a_signed_donor_shows_who_when_and_what(reviewed, read_csv):
    assert row(reviewed, read_csv) == ("none", "", "")
    signature, added = sign(reviewed, role="Biologist")
    assert added
    page, sheet = map(text, pages(reviewed))
    assert "1 sign-off of this result" in page
    assert "Ada Biologist" in page
    assert "valid: nothing changed since" in page
    assert "not a qualified electronic signature" in page
    for slide_id in ("a1", "a2"):
        queue = queues_of(reviewed, {slide_id: None})[slide_id]
        assert queue.result_key in page
    assert reviewed.record("a1").model.digest[:12] in page
    assert f"Signed by Ada (Biologist), {signature.time[:10]}" in sheet
    assert signature.digest[:16] in sheet
    assert re.search(r"0\.0 per 1000 \(0\.0 to [0-9.]+\), reviewed by a person", sheet)
    assert row(reviewed, read_csv) == ("stands", "Ada", signature.time)
    assert "signed by Ada" in text(reviewed.paths.index.read_text(encoding="utf-8"))


def test_the_same_signed_twice_is_one_line_and_two_people_are_two(reviewed, read_csv):
    assert sign(reviewed)[1]
    assert not sign(reviewed)[1]
    assert sign(reviewed, "Bo")[1]
    assert [s.name for s in read_signatures(reviewed.paths).entries] == ["Ada", "Bo"]
    assert row(reviewed, read_csv)[:2] == ("stands", "Ada; Bo")


def test_an_unfinished_review_is_signed_only_with_a_reason(reviewed, batch):
    save(batch, "a1", [replace(decide(batch, "a1")[0], decision="withdrawn", time="2026-11-24T10:00:00+00:00")])
    with pytest.raises(UsageError, match="not complete"):
        sign(reviewed)
    with pytest.raises(UsageError, match="not complete"):
        sign(reviewed, reason="  ")
    assert read_signatures(reviewed.paths).entries == ()
    signature, _ = sign(reviewed, reason=f"urgent {MARKUP}")
    assert signature.basis.review_status == "unfinished"
    page, sheet = pages(reviewed)
    assert MARKUP not in page + sheet
    assert f"signed without a complete review: urgent {MARKUP}" in text(page).replace("  ", " ") or "&lt;script" in page
    assert "review not finished: urgent" in text(sheet)


def test_markup_in_names_is_text_and_broken_names_are_refused(reviewed, read_csv):
    sign(reviewed, MARKUP, role=MARKUP)
    sign(reviewed, "=1+2")
    assert MARKUP not in "".join(pages(reviewed))
    assert row(reviewed, read_csv)[1] == f"{MARKUP}; =1+2"
    for name in ("", " ", "a\nb", "x" * 101):
        with pytest.raises(UsageError):
            sign(reviewed, name)
    with pytest.raises(UsageError):
        sign(reviewed, role="a\tb")


def test_a_later_change_of_the_review_marks_it_as_outdated_and_keeps_it(reviewed, read_csv):
    signature, _ = sign(reviewed)
    kept = reviewed.paths.signatures.read_bytes()
    later = replace(decide(reviewed, "a1")[0], decision="mn", time="2026-11-25T10:00:00+00:00")
    save(reviewed, "a1", [later])
    assert row(reviewed, read_csv) == ("outdated", "Ada", signature.time)
    page, sheet = map(text, pages(reviewed))
    assert "No sign-off is valid" in page
    assert "outdated : the review of slide a1 changed" in page
    assert "OUTDATED: the review of slide a1 changed" in sheet
    assert reviewed.paths.signatures.read_bytes() == kept
    assert sign(reviewed, "Bo")[1]
    assert row(reviewed, read_csv)[:2] == ("stands", "Bo")


def test_a_changed_result_marks_it_as_outdated(reviewed, add_slide, read_csv):
    sign(reviewed)
    add_slide(reviewed, "a2", [0.1, 0.6, *[0.03] * 9], first_digest=100)
    assert row(reviewed, read_csv)[0] == "outdated"
    assert "the result of slide a2 changed" in text(pages(reviewed)[0])


def test_a_new_slide_and_a_curve_mark_it_as_outdated(reviewed, add_slide, read_csv):
    sign(reviewed)
    curve = reviewed.paths.root.parent / "curve.json"
    curve.write_text(json.dumps(CURVE))
    made = mnbatch("dose", reviewed.paths.root, "--curve", curve)
    assert made.returncode in (0, 3), made.stderr
    assert row(reviewed, read_csv)[0] == "outdated"
    add_slide(reviewed, "a3", [0.1] * 5, first_digest=700)
    assert row(reviewed, read_csv)[0] == "outdated"
    assert "slide a3 was added; the dose or its curve changed" in text(pages(reviewed)[0])


def test_what_other_donors_do_leaves_it_alone(reviewed, add_slide, read_csv):
    sign(reviewed)
    add_slide(reviewed, "b1", [0.9] * 4, first_digest=200, donor="D2")
    assert row(reviewed, read_csv)[0] == "stands"


def test_who_signs_another_state_than_they_saw_is_refused(reviewed):
    seen = sign(reviewed)[0].digest
    save(reviewed, "a1", [replace(decide(reviewed, "a1")[0], decision="mn", time="2026-11-25T10:00:00+00:00")])
    with pytest.raises(MismatchError, match="has changed"):
        sign(reviewed, "Bo", digest=seen)
    assert len(read_signatures(reviewed.paths).entries) == 1


def test_no_donor_no_result_nothing_to_sign(reviewed, add_failed):
    with pytest.raises(UsageError, match="no donor 'D7'"):
        sign(reviewed, donor="D7")
    add_failed(reviewed, "f1", "the files are gone", donor="D3")
    with pytest.raises(UsageError, match="no result to sign"):
        sign(reviewed, donor="D3", reason="x")


def test_two_at_once_are_both_kept(reviewed):
    build_reports(reviewed, OPTIONS)
    signers = [threading.Thread(target=sign, args=(reviewed, name)) for name in ("Ada", "Bo", "Cy")]
    for one in signers:
        one.start()
    for one in signers:
        one.join()
    assert sorted(s.name for s in read_signatures(reviewed.paths).entries) == ["Ada", "Bo", "Cy"]


def test_a_run_that_holds_out_is_not_disturbed(reviewed, monkeypatch):
    monkeypatch.setattr(rebuild, "WAIT_SECONDS", 0.1)
    with hold_lock(reviewed.paths.lock), pytest.raises(LockHeldError):
        sign(reviewed)
    assert read_signatures(reviewed.paths).entries == ()


def test_torn_and_altered_lines_count_for_nothing_and_are_not_glued_to(reviewed, read_csv):
    sign(reviewed)
    path = reviewed.paths.signatures
    line = json.loads(path.read_text())
    line["basis"]["numbers"]["mnbn_cells"] = "99"
    path.write_text(json.dumps(line) + "\n" + '{"donor": "D1", "na')
    found = read_signatures(reviewed.paths)
    assert (found.entries, found.torn) == ((), 2)
    assert row(reviewed, read_csv)[0] == "none"
    assert sign(reviewed, "Bo")[1]
    assert [s.name for s in read_signatures(reviewed.paths).entries] == ["Bo"]
    assert "2 lines of the trail of sign-offs cannot be read" in text(pages(reviewed)[0])


def test_the_command_signs_and_refuses_with_its_exit_codes(reviewed):
    out = reviewed.paths.root
    done = mnbatch("review", "sign", out, "--donor", "D1", "--name", "Ada", "--role", "Head")
    assert done.returncode == 0, done.stderr
    assert "donor D1: 2 MNBN of 29 cells, review complete" in done.stdout
    assert "signed by Ada (Head), 20" in done.stdout
    assert (
        "was signed already by Ada"
        in mnbatch("review", "sign", out, "--donor", "D1", "--name", "Ada", "--role", "Head").stdout
    )
    assert mnbatch("review", "sign", out, "--donor", "D2", "--name", "Ada").returncode == 2
    assert mnbatch("review", "sign", out, "--donor", "D2", "--name", "Ada", "--unfinished", "training").returncode == 0
    assert mnbatch("review", "sign", out, "--donor", "D1", "--name", "Ada", "--digest", "0" * 32).returncode == 5
    assert mnbatch("review", "sign", out / "none", "--donor", "D1", "--name", "Ada").returncode == 4
    assert mnbatch("review", "sign", "--help").returncode == 0


def test_the_trail_of_decisions_and_that_of_sign_offs_are_different_files(reviewed):
    sign(reviewed)
    assert trail.reviewed_slides(OutPaths(reviewed.paths.root)) == ["a1", "a2"]
