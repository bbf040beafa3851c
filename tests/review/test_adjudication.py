"""Who may adjudicate: a third person, and none of those who differ; trails of earlier versions hold others."""

import json
from dataclasses import replace

import pytest

from mnbatch.errors import UsageError
from mnbatch.review import trail
from mnbatch.review.decisions import ADJUDICATION, WITHDRAWN
from mnbatch.review.review_import import import_review, queues_of, save_decisions
from mnbatch.review.review_status import combined, latest, saved_decisions, slide_review
from mnbatch.review.trail import Trail, read_trail


@pytest.fixture
def readers(queue, tools):
    """Ada and Bo differ on the called cells."""
    ada = tools.decide(queue, lambda cell: "mn" if int(cell[-8:-4]) < 6 else "not_mn")
    return ada, tools.decide(queue, lambda _: "not_mn", reviewer="Bo")


@pytest.fixture
def cy(queue, tools):
    return adjudicating(tools.decide(queue, lambda _: "not_mn", reviewer="Cy"))[:6]


def adjudicating(decisions):
    return [replace(d, look=ADJUDICATION) for d in decisions]


def state(out, slide_id="s1"):
    return slide_review(queues_of(out, {slide_id: None})[slide_id], read_trail(out.paths, slide_id))


def differing(review):
    (agreement,) = review.agreements
    read = sum(t.differing for t in review.tallies), sum(t.twice for t in review.tallies)
    return read, agreement.cells - agreement.agreed, len(review.disagreements)


def test_one_of_two_who_differ_cannot_settle_it(out, queue, readers, tools, tmp_path):
    save_decisions(out, [*readers[0], *readers[1]], "test")
    before, kept = out.paths.review_trail("s1").read_bytes(), state(out)
    own = [replace(d, decision="not_mn") for d in adjudicating(readers[0])]
    with pytest.raises(UsageError, match=r"Ada decided cell .* before, as a reader.* and \d+ more.*Nothing of it was"):
        save_decisions(out, own, "test")
    assert (out.paths.review_trail("s1").read_bytes(), state(out)) == (before, kept)
    assert differing(kept) == ((6, queue.drawn), 6, 6)


def test_one_row_that_may_not_be_keeps_all_of_a_file_out(out, readers, cy):
    save_decisions(out, [*readers[0], *readers[1]], "test")
    with pytest.raises(UsageError, match="Bo decided cell"):
        save_decisions(out, [*cy, replace(readers[1][0], look=ADJUDICATION)], "test")
    assert len(read_trail(out.paths, "s1").entries) == len(readers[0]) + len(readers[1])


@pytest.mark.parametrize(("others", "words"), [(0, "nobody else decided"), (1, "only 1 other person decided")])
def test_nobody_adjudicates_what_fewer_than_two_others_decided(out, readers, cy, others, words):
    for said in readers[:others]:
        save_decisions(out, said, "test")
    with pytest.raises(UsageError, match=words):
        save_decisions(out, cy, "test")
    assert not any(d.look for d in read_trail(out.paths, "s1").entries)


def test_a_third_person_settles_it_and_may_change_or_take_back_that(out, readers, cy):
    save_decisions(out, [*readers[0], *readers[1]], "test")
    before = differing(state(out))
    assert save_decisions(out, cy, "test").added == 6
    assert save_decisions(out, cy, "test").known == 6
    changed = [replace(d, decision="mn", time="2026-11-23T11:00:00+00:00") for d in cy]
    assert save_decisions(out, changed, "test").added == 6
    review = state(out)
    assert (review.tallies[0].mn, all(one.settled for one in review.disagreements)) == (6, True)
    assert differing(review) == before
    # The gallery takes a decision back without its look.
    back = [replace(d, decision=WITHDRAWN, look="", time="2026-11-23T12:00:00+00:00") for d in cy]
    save_decisions(out, back, "test")
    assert state(out).tallies[0].unsure == 6
    again = [replace(d, time="2026-11-23T13:00:00+00:00") for d in cy]
    assert save_decisions(out, again, "test").added == 6


def test_who_took_the_own_look_back_may_adjudicate_where_two_others_differ(out, queue, readers, cy, tools):
    slip = tools.decide(queue, lambda _: "mn", reviewer="Cy")[:6]
    save_decisions(out, [*readers[0], *readers[1], *slip], "test")
    with pytest.raises(UsageError, match="Cy decided cell"):
        save_decisions(out, cy, "test")
    save_decisions(out, [replace(d, decision=WITHDRAWN, time="2026-11-23T10:01:00+00:00") for d in slip], "test")
    assert save_decisions(out, cy, "test").added == 6


def test_a_file_that_holds_all_three_is_taken_in_any_order_and_again(out, readers, cy, tmp_path):
    path = tmp_path / "all.json"
    write_json(path, [*cy, *readers[0], *readers[1]])
    assert import_review(out, path).added == len(cy) + 2 * len(readers[0])
    assert state(out).tallies[0].unsure == 0
    assert import_review(out, path).added == 0


def write_json(path, decisions):
    rows = [d.fields() for d in decisions]
    path.write_text(json.dumps({"format": "mnbatch-review", "version": 1, "decisions": rows}))


def test_another_result_of_the_slide_is_another_matter(out, queue, readers, cy, tools):
    save_decisions(out, [*readers[0], *readers[1]], "test")
    old = [replace(d, result_key="0" * 16) for d in cy]
    with pytest.raises(UsageError, match="nobody else decided"):
        save_decisions(out, old, "test", keep_outdated=True)


def saved_by_an_earlier_version(out, *parts):
    with trail.writing(out.paths):
        for said in parts:
            trail.append(out.paths, "s1", said, "an earlier version")


def test_in_an_old_trail_the_difference_of_two_readers_stays(out, queue, readers):
    saved_by_an_earlier_version(out, *readers)
    kept = state(out)
    own = [replace(d, decision="not_mn", time="2026-11-24T10:00:00+00:00") for d in adjudicating(readers[0])]
    saved_by_an_earlier_version(out, own)
    assert state(out) == kept
    assert differing(kept) == ((6, queue.drawn), 6, 6)
    assert kept.tallies[0].unsure == 6
    with pytest.raises(UsageError, match="Ada decided cell"):
        save_decisions(out, own, "test")  # not known before: it is not in use


def test_in_an_old_trail_what_one_person_adjudicated_alone_is_a_look(out, queue, readers):
    alone = adjudicating(readers[0])
    saved_by_an_earlier_version(out, alone)
    found = latest(read_trail(out.paths, "s1").entries, queue.result_key)
    assert {d.look for d in found["Ada"].values()} == {""}
    assert {value[3] for value in saved_decisions(queue, read_trail(out.paths, "s1"))["Ada"].values()} == {""}
    corrected = [replace(d, decision="unsure") for d in alone[:1]]
    saved_by_an_earlier_version(out, corrected, readers[1])
    review = state(out)
    assert differing(review)[0][1] == queue.drawn - 1
    assert combined(latest(read_trail(out.paths, "s1").entries, queue.result_key))[alone[0].cell_id] == "unsure"
    assert len(review.disagreements) == 6


def test_a_wrong_clock_is_seen_in_a_look_that_was_no_adjudication(queue, readers):
    (one,) = adjudicating(readers[0][:1])
    assert slide_review(queue, Trail((one,), ahead=frozenset({one}))).ahead == 1
