"""Cells for a model's training: uncertain, different from each other, and a random share; outside of every estimate."""

import numpy as np

from mnbatch.review.learning_cells import choose_cells
from mnbatch.review.queue import OUTSIDE, ReviewPlan, permanent_random, save_plan
from mnbatch.review.review_import import queues_of
from mnbatch.review.review_status import slide_review
from mnbatch.review.trail import read_trail


def chances(number):
    return [permanent_random(1, str(i)) for i in range(number)]


def test_twins_are_not_both_chosen_while_others_are_left():
    features = np.repeat(np.eye(4), 5, axis=0)  # four kinds of cells, five of each alike
    chosen = choose_cells(features, np.full(20, 0.5), 0.5, np.zeros(20, bool), chances(20), 4, random_share=0.0)
    assert sorted(place // 5 for place in chosen) == [0, 1, 2, 3]


def test_what_is_reviewed_anyway_is_not_chosen_nor_what_is_like_it():
    features = np.repeat(np.eye(4), 5, axis=0)
    taken = np.arange(20) < 1
    chosen = choose_cells(features, np.full(20, 0.5), 0.5, taken, chances(20), 3, random_share=0.0)
    assert sorted(place // 5 for place in chosen) == [1, 2, 3]


def test_uncertain_cells_come_before_sure_ones_that_differ_as_much():
    features = np.eye(6)
    p = np.array([0.5, 0.999, 0.52, 0.001, 0.48, 0.9999])
    chosen = choose_cells(features, p, 0.5, np.zeros(6, bool), chances(6), 3, random_share=0.0)
    assert sorted(chosen) == [0, 2, 4]


def test_each_cell_is_measured_by_the_threshold_of_its_slide():
    p = np.array([0.5, 0.1, 0.5, 0.1])
    thresholds = np.array([0.5, 0.5, 0.1, 0.1])
    chosen = choose_cells(np.eye(4), p, thresholds, np.zeros(4, bool), chances(4), 2, random_share=0.0)
    assert sorted(chosen) == [0, 3]


def test_a_share_is_drawn_by_chance_and_no_cell_twice():
    features = np.random.default_rng(1).normal(size=(50, 3))
    p = np.linspace(0.01, 0.99, 50)
    numbers = chances(50)
    chosen = choose_cells(features, p, 0.5, np.zeros(50, bool), numbers, 10)
    assert len(set(chosen)) == 10
    assert set(chosen[:2]) == set(sorted(range(50), key=numbers.__getitem__)[:2])
    assert len(choose_cells(features, p, 0.5, np.zeros(50, bool), numbers, 99)) == 50


def test_they_come_last_and_no_estimate_is_made_from_them(out, tools):
    before = queues_of(out, {"s1": None})["s1"]
    free = [place.cell_id for place in before.places if place.stratum == OUTSIDE]
    save_plan(out.paths, ReviewPlan(band=0.1, sample=0.2, least_band=3, least_sample=5, learn=tuple(free[:3])))
    after = queues_of(out, {"s1": None})["s1"]
    assert (after.drawn, after.sizes, after.result_key) == (before.drawn, before.sizes, before.result_key)
    ranks = {place.cell_id: place.rank for place in after.places}
    assert {cell: rank for cell, rank in ranks.items() if cell not in free[:3]} == {
        place.cell_id: place.rank for place in before.places if place.cell_id not in free[:3]
    }
    assert sorted(ranks[cell] or 0 for cell in free[:3]) == [before.drawn, before.drawn + 1, before.drawn + 2]
    chance = {place.inclusion_probability for place in after.places if place.cell_id in free[:3]}
    assert chance == {None}
    review = slide_review(after, read_trail(out.paths, "s1"))
    assert review.to_review == before.drawn
