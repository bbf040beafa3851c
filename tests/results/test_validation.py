"""How a slide's model errs: from the card that its record keeps, or from cells that the laboratory scored."""

import pytest

from mnbatch.assay.own_cells import ValidatedCell
from mnbatch.assay.sample_sheet import SampleRow
from mnbatch.errors import UsageError
from mnbatch.results.annotations import load_samples, save_samples
from mnbatch.results.model_errors import NO_SCORES, NOT_KEPT, keep_validation, load_validation, validation_of
from mnbatch.results.records import CallStamp, ModelStamp, RateStamp, ScoresStamp, SlideRecord, ValidationStamp
from mnbatch.results.store import Store

RATES = {
    "sensitivity": RateStamp(data="labelled", right=62, total=74),
    "specificity": RateStamp(data="labelled", right=39, total=39),
}
CARD = ValidationStamp(threshold=0.4, **RATES)


def record(threshold=0.4, validation=CARD, digest="ab", slide_id="s1"):
    model = ModelStamp(name="m", version="1", digest=digest, architecture="a", validation=validation)
    call = CallStamp(key="k", threshold=threshold, max_bad_fraction=0.1, quality_rules=1)
    return SlideRecord(
        slide_id=slide_id,
        name="s",
        path="s",
        donor=None,
        layout="x",
        status="scored",
        stat_key="",
        model=model,
        call=call,
    )


class Scored(Store):
    """A store whose scores are given; everything else is the real thing."""

    def __init__(self, out, scores, digests):
        super().__init__(out)
        self._scores, self._digests = scores, digests

    def records(self):
        return [record(digest=digest, slide_id=slide_id) for slide_id, digest in self._digests.items()]

    def scores(self, record):
        from mnbatch.assay.cells import ScoreRow

        return [
            ScoreRow(cell_id, "f", None, p, "", None)
            for cell_id, p in self._scores.items()
            if cell_id.startswith(f"{record.slide_id}:")
        ]


@pytest.fixture
def sheet(tmp_path):
    def write(text):
        path = tmp_path / "cells.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_the_card_is_used_at_its_own_threshold_only():
    found = validation_of(record(), [])
    assert (str(found.rates.sensitivity), str(found.rates.specificity)) == ("62/74", "39/39")
    assert found.rates.data == 'the model card\'s "labelled"'
    assert (found.scores, found.scores_reason) == (None, NO_SCORES)
    other = validation_of(record(threshold=0.5), [])
    assert other.rates is None
    assert "its threshold 0.4, and the cells were called at 0.5" in other.rates_reason


def test_errors_measured_on_colour_do_not_hold_for_grey_files():
    """Grey copies of simulated slides had three times as many false calls; the card's specificity hid that."""
    grey = record().model_copy(update={"stains": {"giemsa": 40}, "colourless": 5})
    found = validation_of(grey, [])
    assert found.rates is None
    assert found.scores is None
    assert "a slide's cells have none" in found.rates_reason
    few = record().model_copy(update={"stains": {"giemsa": 40}, "colourless": 4})
    assert validation_of(few, []).rates is not None
    own = [ValidatedCell("", 0.9, True, grey.model.digest), ValidatedCell("", 0.1, False, grey.model.digest)]
    assert validation_of(grey, own).rates is not None


def test_what_a_card_or_record_does_not_say_is_a_reason():
    assert validation_of(record(validation=None), []).rates_reason == NOT_KEPT
    assert "gives no sensitivity" in validation_of(record(validation=ValidationStamp(threshold=0.4)), []).rates_reason


def test_scores_of_the_card_are_used():
    scores = ScoresStamp(data="labelled", edges=(0, 0.5, 1), mn=(1, 3), nomn=(5, 0))
    found = validation_of(record(validation=CARD.model_copy(update={"scores": scores})), [])
    assert (found.scores.mn, found.scores.nomn, found.scores_reason) == ((1, 3), (5, 0), "")


def test_own_cells_go_before_the_card_and_keep_their_scores(tmp_path, sheet):
    store = Scored(tmp_path / "out", {"s1:a": 0.9, "s1:b": 0.3, "s1:c": 0.1}, {"s1": "ab"})
    keep_validation(store, sheet("cell_id,truth\ns1:a,1\ns1:b,1\ns1:c,0\n"))
    kept = load_validation(store.paths)
    assert [(cell.cell_id, cell.p_mn, cell.truth, cell.model) for cell in kept] == [
        ("s1:a", 0.9, True, "ab"),
        ("s1:b", 0.3, True, "ab"),
        ("s1:c", 0.1, False, "ab"),
    ]
    found = validation_of(record(threshold=0.25), kept)
    assert (str(found.rates.sensitivity), str(found.rates.specificity)) == ("2/2", "1/1")


def test_a_person_s_earlier_work_is_not_overwritten(tmp_path, sheet):
    store = Scored(tmp_path / "out", {}, {"s1": "ab"})
    for text in ("p_mn,truth\n0.9,1\n", "p_mn,truth\n0.8,0\n", "p_mn,truth\n0.8,0\n"):
        keep_validation(store, sheet(text))
    names = sorted(path.name for path in store.paths.annotations.glob("*.csv"))
    assert names == ["validation.1.csv", "validation.csv"]
    assert "0.9" in (store.paths.annotations / "validation.1.csv").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cell_id,truth\ns1:zzz,1\n", "line 2: .* has no score of the cell s1:zzz"),
        ("cell_id,truth\ns9:a,1\n", "has no score of the cell s9:a"),
        ("cell_id,truth\ns1:unreadable,1\n", "has no score of the cell"),
        ("p_mn,truth\n0.5,1\n", "line 2: a score without a cell_id, and 2 models"),
    ],
)
def test_cells_that_cannot_be_used_are_refused(tmp_path, sheet, text, message):
    store = Scored(tmp_path / "out", {"s1:a": 0.9, "s1:unreadable": None}, {"s1": "ab", "s2": "cd"})
    with pytest.raises(UsageError, match=message):
        keep_validation(store, sheet(text))
    assert load_validation(store.paths) == []


def test_controls_of_the_sample_sheet_are_kept(tmp_path):
    paths = Store(tmp_path / "out").paths
    paths.annotations.mkdir(parents=True)
    save_samples(paths, {"s1": SampleRow("s1", "D1", control=True), "s2": SampleRow("s2", "D2")})
    assert load_samples(paths) == {"s1": {"donor": "D1", "control": "yes"}, "s2": {"donor": "D2"}}


def test_an_edited_file_is_refused(tmp_path):
    store = Store(tmp_path / "out")
    store.paths.annotations.mkdir(parents=True)
    store.paths.validation.write_text("cell,score\na,b\n")
    with pytest.raises(UsageError, match="is not what"):
        load_validation(store.paths)
