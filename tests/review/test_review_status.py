"""Where a review stands, and how several reviewers make one number."""

from mnbatch.review.review_import import queues_of, save_decisions
from mnbatch.review.review_status import latest, pool, slide_review
from mnbatch.review.trail import Trail, read_trail


def truth(cell_id):
    return "mn" if int(cell_id[-8:-4]) < 4 else "not_mn"


def test_a_complete_review_has_a_number_and_says_who(queue, tools):
    review = slide_review(queue, Trail(tuple(tools.decide(queue, truth))))
    assert (review.status, review.reason) == ("complete", "")
    assert review.number.mnbn == 4
    assert [(s.reviewer, s.looked, s.missing) for s in review.reviewers] == [("Ada", queue.drawn, 0)]


def test_an_unfinished_review_says_what_is_missing_and_has_no_number(queue, tools):
    decisions = tools.decide(queue, truth)
    review = slide_review(queue, Trail(tuple(decisions[:-3])))
    assert review.status == "unfinished"
    assert review.reason == "3 of 10 cells of the random sample not decided"
    assert review.number is None


def test_nothing_said_is_no_review(queue):
    assert slide_review(queue, Trail(())).status == "none"


def test_what_was_saved_last_stands_whatever_time_it_says(queue, tools):
    late, early = tools.decide(queue, lambda _: "unsure", minute=9), tools.decide(queue, truth, minute=1)
    standing = latest([*late, *early], queue.result_key)
    assert {d.decision for d in standing["Ada"].values()} == {"mn", "not_mn"}


def test_a_decision_of_2099_is_taken_and_said_and_can_be_corrected(out, queue, tools):
    wrong = [tools.change(d, time="2099-01-01T00:00:00+00:00") for d in tools.decide(queue, lambda _: "mn")]
    done = save_decisions(out, wrong, "review.csv")
    assert done.ahead == queue.drawn
    review = slide_review(queue, read_trail(out.paths, "s1"))
    assert (review.ahead, review.number.mnbn) == (queue.drawn, review.number.bn_cells)
    assert save_decisions(out, tools.decide(queue, truth), "review.csv").ahead == 0
    review = slide_review(queue, read_trail(out.paths, "s1"))
    assert (review.ahead, review.number.mnbn) == (0, 4)


def test_a_withdrawn_decision_is_missing_again(queue, tools):
    decisions = tools.decide(queue, truth)
    gone = tools.change(decisions[0], decision="withdrawn", time="2026-11-23T11:00:00+00:00")
    review = slide_review(queue, Trail((*decisions, gone)))
    assert "1 of 6 cells called MN" in review.reason


def test_where_reviewers_differ_the_call_stands_and_the_interval_holds_both(queue, tools):
    ada = tools.decide(queue, truth)
    bo = [tools.change(d, reviewer="Bo") for d in ada]
    bo[0] = tools.change(bo[0], decision="not_mn" if ada[0].decision == "mn" else "mn")
    review = slide_review(queue, Trail((*ada, *bo)))
    assert [d.cell_id for d in review.disagreements] == [ada[0].cell_id]
    assert pool([review]).disagreements == review.disagreements
    assert review.agreements[0].cells == queue.drawn
    assert 0 < review.agreements[0].kappa < 1
    alone = slide_review(queue, Trail(tuple(ada)))
    assert review.estimate.high - review.estimate.low > alone.estimate.high - alone.estimate.low


def test_two_may_share_a_slide(queue, tools):
    ada = tools.decide(queue, truth)
    half = [*ada[:10], *[tools.change(d, reviewer="Bo") for d in ada[10:]]]
    assert slide_review(queue, Trail(tuple(half))).status == "complete"


def test_cells_outside_the_queue_do_not_move_the_estimate(queue, tools):
    ada = tools.decide(queue, truth)
    outside = next(place for place in queue.places if place.rank is None)
    extra = tools.change(ada[0], cell_id=outside.cell_id, decision="mn", stratum="outside", inclusion_probability=None)
    with_it, without = (slide_review(queue, Trail(tuple(d))) for d in ([*ada, extra], ada))
    assert with_it.estimate == without.estimate
    assert with_it.reviewers[0].outside == 1


def test_a_donor_is_complete_when_its_slides_are(out, queue, tools):
    one = slide_review(queue, Trail(tuple(tools.decide(queue, truth))))
    other_queue = queues_of(out, {"s2": None})["s2"]
    open_review = slide_review(other_queue, Trail(()))
    assert pool([one, open_review]).status == "unfinished"
    assert "1 of 2 slides" in pool([one, open_review]).reason
    other = slide_review(other_queue, Trail(tuple(tools.decide(other_queue, lambda _: "not_mn"))))
    both = pool([one, other])
    assert both.status == "complete"
    assert both.number.bn_cells == 60 + 60
    assert both.number.high > one.number.high / 2
    assert pool([]).status == "none"
