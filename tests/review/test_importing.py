"""Reviews that come in: the good, the bad, and two at once."""

import csv
import json
import multiprocessing

import pytest

from mnbatch.errors import LockHeldError, MismatchError, UsageError
from mnbatch.results.lock import hold_lock
from mnbatch.results.store import Store
from mnbatch.review import trail
from mnbatch.review.decisions import read_review
from mnbatch.review.review_import import import_review, queues_of, save_decisions
from mnbatch.review.review_status import latest, slide_review


def not_mn(_cell_id):
    return "not_mn"


def test_a_review_is_appended_once(out, queue, tools, tmp_path):
    path = tools.write(tmp_path / "review.csv", tools.decide(queue, not_mn))
    done = import_review(out, path)
    assert (done.added, done.known, done.reviewers) == (queue.drawn, 0, ("Ada",))
    before = out.paths.review_trail("s1").read_bytes()
    assert import_review(out, path).added == 0
    assert out.paths.review_trail("s1").read_bytes() == before


def saves(queue, tools, tmp_path):
    """What Ada saved on Monday, and on Tuesday, when she had found micronuclei in the first four cells."""
    seen = {place.cell_id for place in queue.places if place.rank is not None and place.rank < 4}
    monday = tools.decide(queue, not_mn)
    tuesday = tools.decide(queue, lambda cell: "mn" if cell in seen else "not_mn", minute=30)
    return tools.write(tmp_path / "monday.csv", monday), tools.write(tmp_path / "tuesday.csv", tuesday)


def found_with_mn(out):
    return sum(d.decision == "mn" for d in latest_of(out).values())


def latest_of(out):
    entries = trail.read_trail(out.paths, "s1").entries
    return latest(entries, entries[0].result_key)["Ada"]


def test_an_earlier_save_does_not_undo_a_later_one_unasked(out, queue, tools, tmp_path):
    monday, tuesday = saves(queue, tools, tmp_path)
    import_review(out, tuesday)
    before = out.paths.review_trail("s1").read_bytes()
    with pytest.raises(UsageError, match="is an earlier save: 4 of its decisions differ from later ones") as refused:
        import_review(out, monday)
    assert "--replace-newer" in refused.value.next_step
    assert out.paths.review_trail("s1").read_bytes() == before
    done = import_review(out, monday, replace_newer=True)
    assert (done.added, done.replaced, found_with_mn(out)) == (queue.drawn, 4, 0)
    # The right file again puts it right again.
    done = import_review(out, tuesday)
    assert (done.added, done.replaced, found_with_mn(out)) == (4, 4, 4)
    assert trail.read_trail(out.paths, "s1").altered == ()
    # And the other one, which the trail has now, is not silently thought to hold.
    done = import_review(out, monday)
    assert (done.added, done.overruled, found_with_mn(out)) == (0, 4, 4)


def test_a_later_save_takes_the_place_of_an_earlier_one_and_says_so(out, queue, tools, tmp_path):
    monday, tuesday = saves(queue, tools, tmp_path)
    import_review(out, monday)
    done = import_review(out, tuesday)
    assert (done.added, done.replaced, done.overruled, found_with_mn(out)) == (queue.drawn, 4, 0, 4)


def test_json_says_the_same(out, queue, tools, tmp_path):
    decisions = tools.decide(queue, not_mn)
    path = tmp_path / "review.json"
    path.write_text(
        json.dumps({"format": "mnbatch-review", "version": 1, "decisions": [d.fields() for d in decisions]})
    )
    import_review(out, path)
    assert trail.read_trail(out.paths, "s1").entries == tuple(decisions)


def refuse(out, path, error, match):
    with pytest.raises(error, match=match):
        import_review(out, path)
    assert trail.reviewed_slides(out.paths) == [], "nothing of a refused review is kept"


def test_another_batch(out, queue, tools, tmp_path):
    decisions = [tools.change(d, slide_id="zz") for d in tools.decide(queue, not_mn)]
    refuse(out, tools.write(tmp_path / "r.csv", decisions), MismatchError, "that are not in .*: zz")


def test_an_unknown_cell(out, queue, tools, tmp_path):
    decisions = tools.decide(queue, not_mn)
    decisions[3] = tools.change(decisions[3], cell_id="s1:nowhere.tif")
    refuse(out, tools.write(tmp_path / "r.csv", decisions), MismatchError, "nowhere.tif is not a counted")


def test_an_excluded_cell_cannot_be_decided(out, queue, tools, tmp_path):
    decisions = [tools.change(tools.decide(queue, not_mn)[0], cell_id="s1:d/s1/cell0006.tif")]
    refuse(out, tools.write(tmp_path / "r.csv", decisions), MismatchError, "not a counted")


def test_another_model_and_another_plan(out, queue, tools, tmp_path):
    first, *_ = tools.decide(queue, not_mn)
    refuse(out, tools.write(tmp_path / "r.csv", [tools.change(first, model_digest="ff")]), MismatchError, "model")
    wrong = tools.change(first, inclusion_probability=0.5)
    refuse(out, tools.write(tmp_path / "r.csv", [wrong]), MismatchError, "another plan")


def test_an_older_result_is_refused_or_kept_and_not_counted(out, queue, tools, tmp_path):
    path = tools.write(tmp_path / "r.csv", tools.decide(queue, not_mn))
    tools.commit(out, "s1", [0.8] * 3 + [0.1] * 20)
    refuse(out, path, MismatchError, "earlier result")
    done = import_review(out, path, keep_outdated=True)
    assert done.outdated == done.added == queue.drawn
    review = slide_review(queues_of(out, {"s1": None})["s1"], trail.read_trail(out.paths, "s1"))
    assert (review.status, review.estimate, review.outdated) == ("outdated", None, queue.drawn)


def test_duplicate_decisions_name_both_lines(out, queue, tools, tmp_path):
    first, second, *_ = tools.decide(queue, not_mn)
    again = tools.change(first, decision="mn")
    refuse(out, tools.write(tmp_path / "r.csv", [first, second, again]), UsageError, r"line 4 decides .*line 2 did")


def test_a_broken_line_is_named(out, queue, tools, tmp_path):
    path = tools.write(tmp_path / "r.csv", tools.decide(queue, not_mn))
    lines = path.read_text().splitlines()
    lines[4] = lines[4][:30]
    path.write_text("\n".join(lines))
    refuse(out, path, UsageError, "line 5: 3 entries for 10 columns")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"decision": "maybe"}, "'maybe' is not one of"),
        ({"decision": "withdrawn"}, "not one of"),
        ({"count": -3}, "count"),
        ({"count": 2}, "contradicts"),
        ({"time": "yesterday"}, "not an ISO 8601"),
        ({"time": "2026-11-23T10:00:00"}, "offset"),
        ({"reviewer": ""}, "name of 1 to"),
        ({"reviewer": "x" * 101}, "name of 1 to"),
        ({"reviewer": "Ada\u202e"}, "control characters"),
        ({"reviewer": "#NAME?"}, "spreadsheet's error"),
        ({"inclusion_probability": 7}, "inclusion_probability"),
    ],
)
def test_fields_that_cannot_be_right(out, queue, tools, tmp_path, change, match):
    first, *_ = tools.decide(queue, not_mn)
    refuse(out, tools.write(tmp_path / "r.csv", [tools.change(first, **change)]), UsageError, match)


@pytest.mark.parametrize(
    "content", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", b'{"format": 3}', b"{", b'{"decisions": [1]}']
)
def test_files_that_are_no_review(out, tmp_path, content):
    path = tmp_path / "r.csv"
    path.write_bytes(content)
    refuse(out, path, UsageError, "review|UTF-8")
    refuse(out, tmp_path / "absent.csv", UsageError, "no file")


def test_a_name_with_markup_is_kept_as_it_is(out, queue, tools, tmp_path):
    name = "<img src=x onerror=alert(1)>"
    import_review(out, tools.write(tmp_path / "r.csv", tools.decide(queue, not_mn, reviewer=name)))
    assert {entry.reviewer for entry in trail.read_trail(out.paths, "s1").entries} == {name}


def test_the_trail_survives_a_torn_line(out, queue, tools, tmp_path):
    decisions = tools.decide(queue, not_mn)
    import_review(out, tools.write(tmp_path / "a.csv", decisions[:4]))
    path = out.paths.review_trail("s1")
    whole = path.read_bytes()
    path.write_bytes(whole[:-25])
    import_review(out, tools.write(tmp_path / "b.csv", decisions))
    found = trail.read_trail(out.paths, "s1")
    assert path.read_bytes().startswith(whole[:-25]), "nothing that was there is lost"
    assert (set(found.entries), found.torn) == (set(decisions), 1)


def _import(root, path):
    import_review(Store(root), path)


def test_two_imports_at_once_are_both_kept(out, queue, tools, tmp_path):
    paths = [
        tools.write(tmp_path / f"{name}.csv", tools.decide(queue, not_mn, reviewer=name))
        for name in ("Ada", "Bo", "Cy")
    ]
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_import, args=(out.paths.root, path)) for path in paths]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    found = trail.read_trail(out.paths, "s1")
    assert (len(found.entries), found.torn) == (3 * queue.drawn, 0)


def test_a_writer_that_does_not_end_is_named(out):
    with hold_lock(out.paths.review_lock), pytest.raises(LockHeldError, match="process"), trail.writing(out.paths, 0.2):
        pytest.fail("two writers at once")


def test_a_review_that_a_spreadsheet_saved_again_is_the_same(out, queue, tools, tmp_path):
    path = tools.write(tmp_path / "r.csv", tools.decide(queue, not_mn))
    plain = read_review(path)
    rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    place = rows[0].index("inclusion_probability")
    lines = ["sep=;", ";".join([*rows[0], "own"])]
    lines += [";".join([*row[:place], row[place].replace(".", ","), *row[place + 1 :], "x"]) for row in rows[1:]]
    path.write_text("\r\n".join(lines), encoding="utf-16")
    assert read_review(path) == plain


@pytest.mark.parametrize("name", ["ada", "ADA", "A da", "\u0410da", "Ada\u00a0"])
def test_a_name_that_reads_the_same_as_one_that_is_there_is_refused(out, queue, tools, tmp_path, name):
    """One person was two readers, who agreed on every cell, and their slips were those of two people."""
    import_review(out, tools.write(tmp_path / "a.csv", tools.decide(queue, not_mn)[:3]))
    before = out.paths.review_trail("s1").read_bytes()
    other = queues_of(out, {"s2": None})["s2"]
    row = tools.decide(other, not_mn, reviewer="Ada")[0]
    path = tmp_path / "b.json"
    path.write_text(json.dumps({"format": "mnbatch-review", "decisions": [row.fields() | {"reviewer": name}]}))
    if name.strip() == "Ada":
        assert import_review(out, path).reviewers == ("Ada",)
        return
    with pytest.raises(UsageError, match="reads the same as 'Ada', who has decided") as refused:
        import_review(out, path)
    assert f"'{name}'" in refused.value.message
    assert "write 'Ada' as the reviewer" in refused.value.next_step
    assert out.paths.review_trail("s1").read_bytes() == before
    assert trail.reviewed_slides(out.paths) == ["s1"]


def test_two_such_names_in_one_file_are_refused(out, queue, tools, tmp_path):
    rows = tools.decide(queue, not_mn)[:2]
    rows[1] = tools.change(rows[1], reviewer="ADA")
    refuse(out, tools.write(tmp_path / "r.csv", rows), UsageError, "'ADA' reads the same as 'Ada', who is in it, too")


def test_two_people_of_whom_the_gallery_was_told_stay_two(out, queue, tools, tmp_path):
    first, second, third, *_ = tools.decide(queue, not_mn)
    save_decisions(out, [first, tools.change(first, reviewer="ada")], "review serve", names_asked=True)
    done = import_review(out, tools.write(tmp_path / "r.csv", [second, tools.change(third, reviewer="ada")]))
    assert (done.added, done.reviewers) == (2, ("Ada", "ada"))
