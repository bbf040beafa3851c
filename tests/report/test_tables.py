import io
from dataclasses import replace

import pandas as pd
import pytest

from mnbatch.assay.calls import CalledCell, DonorCall, Frequency, SlideCall
from mnbatch.csvfile import shown
from mnbatch.report.columns import Column, Table
from mnbatch.report.items import DonorItem, SlideItem
from mnbatch.report.tables import CELLS, DONORS, SLIDES, SlideLine, cells_csv
from mnbatch.results.records import ModelStamp, SlideRecord
from tests.stamps import call_stamp

CALL = SlideCall("done", "", (), Frequency.of(3, 200), 2, 5, ("look twice", "once more"))
DONOR = DonorCall("D", "done", "", ("s-1", "s-2", "s-3"), ("s-3",), Frequency.of(3, 200), 2, 5)


def slide(slide_id: str = "s-1", donor: str | None = "D", call: SlideCall = CALL, **sample: str) -> SlideItem:
    record = SlideRecord(
        slide_id=slide_id,
        name="s",
        path="D/s",
        donor=donor,
        layout="donor-slide-folders",
        status="scored",
        stat_key="k",
        call=call_stamp(0.43),
    )
    return SlideItem(record, call, donor, "", sample)


def slides_csv(*items: SlideItem) -> bytes:
    return SLIDES.csv(map(SlideLine, items))


def cell(**fields: object) -> CalledCell:
    base = {
        "cell_id": "s:a.tif",
        "source": "a.tif",
        "page": None,
        "p_mn": 0.25,
        "mn": False,
        "qc": (),
        "reason": "",
    }
    return CalledCell(**(base | fields))


def frame(data: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(data), keep_default_na=False, dtype=str)


def test_pandas_reads_clean_column_names_although_excel_gets_its_mark() -> None:
    data = cells_csv([cell()])
    assert data.startswith(b"\xef\xbb\xbf")
    assert tuple(pd.read_csv(io.BytesIO(data)).columns) == CELLS.header


def test_an_excluded_cell_keeps_its_row_without_numbers() -> None:
    row = frame(cells_csv([cell(p_mn=None, mn=None, reason="the file is empty")])).iloc[0]
    assert (row.p_mn, row.mn, row.reason) == ("", "", "the file is empty")


def test_calls_are_0_or_1_and_flags_are_listed() -> None:
    table = frame(cells_csv([cell(mn=True, p_mn=0.9), cell(), cell(qc=("blurred", "saturated"))]))
    assert list(table.mn) == ["1", "0", "0"]
    assert list(table.qc) == ["ok", "ok", "blurred;saturated"]


def test_scores_are_written_without_loss_and_pages_from_0() -> None:
    row = frame(cells_csv([cell(p_mn=0.4999999, page=0)])).iloc[0]
    assert (float(row.p_mn), row.page) == (0.4999999, "0")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "＝"])
def test_text_that_a_spreadsheet_would_evaluate_is_defused(start: str) -> None:
    name = f"{start}cmd|' /C calc'!A0"
    row = frame(cells_csv([cell(source=name)])).iloc[0]
    assert row.source == "'" + name


@pytest.mark.parametrize("name", ["a\rb", "a\nb", "\r=1", "a\x00b"])
def test_a_name_cannot_start_a_new_row(name: str) -> None:
    data = cells_csv([cell(source=name)])
    assert data.count(b"\n") == 2
    assert b"\r" not in data
    assert not shown(name).startswith(("=", "\r"))


def test_a_name_that_is_no_valid_utf8_is_spelled_out() -> None:
    assert "a\\udce9.tif" in cells_csv([cell(source="a\udce9.tif")]).decode("utf-8")


def test_negative_numbers_of_the_sample_sheet_stay_numbers() -> None:
    table = frame(slides_csv(slide(dose_gy="-1.5", note="-x")))
    assert (table.dose_gy[0], table.note[0]) == ("-1.5", "'-x")


def test_columns_are_the_same_with_and_without_a_sample_sheet() -> None:
    table = frame(slides_csv(slide(dose_gy="2"), slide("s-2", None)))
    assert tuple(table.columns) == SLIDES.header == tuple(frame(slides_csv()).columns)
    assert list(table.dose_gy) == ["2", ""]


def test_counts_and_rates_of_a_done_slide() -> None:
    row = frame(slides_csv(slide())).iloc[0]
    assert (row.bn_cells, row.mnbn_cells, row.excluded_cells, row.flagged_cells) == ("200", "3", "2", "5")
    assert float(row.mnbn_per_1000) == 15.0
    assert float(row.ci_low) == pytest.approx(3.1048, abs=1e-3)
    assert (row.threshold, row.warnings) == ("0.43", "look twice; once more")


def test_a_failed_slide_has_no_number_and_no_zero() -> None:
    failed = replace(CALL, status="failed", reason="nothing readable", frequency=None, excluded_cells=7)
    row = frame(slides_csv(slide(call=failed))).iloc[0]
    empty = ["bn_cells", "flagged_cells", "mnbn_cells", "mnbn_per_1000", "ci_low", "ci_high"]
    assert [row[name] for name in empty] == [""] * 6
    assert (row.excluded_cells, row.reason) == ("7", "nothing readable")


def test_donor_table_has_the_slides_columns_and_their_number() -> None:
    table = frame(DONORS.csv([DonorItem(DONOR, "", (slide(),))]))
    assert tuple(table.columns) == DONORS.header
    assert (table.slides[0], table.slides_done[0], table.slides_failed[0]) == ("3", "2", "1")
    assert table.signature_status[0] == "none"


def test_models_of_a_donor_are_listed_once_each() -> None:
    def scored_by(slide_id: str, name: str) -> SlideItem:
        item = slide(slide_id)
        model = ModelStamp(name=name, version="1", digest=name * 3, architecture="alex-ca")
        return replace(item, record=item.record.model_copy(update={"model": model}))

    slides = (scored_by("s-1", "a"), scored_by("s-2", "b"), scored_by("s-3", "a"))
    row = frame(DONORS.csv([DonorItem(DONOR, "", slides)])).iloc[0]
    assert (row.model, row.model_digest, row.threshold) == ("a 1; b 1", "aaa; bbb", "0.43")


def test_an_empty_donor_table_still_has_its_header() -> None:
    assert tuple(frame(DONORS.csv([])).columns) == DONORS.header


def test_published_columns_keep_their_places() -> None:
    """People read tables by position, too; new columns come at the end."""
    assert CELLS.header[:7] == ("cell_id", "source", "page", "p_mn", "mn", "qc", "reason")
    assert SLIDES.header[:3] == ("slide_id", "donor", "slide")
    assert (len(CELLS.header), len(SLIDES.header), len(DONORS.header)) == (27, 110, 128)
    assert SLIDES.header.index("background_p") == 59
    assert DONORS.header.index("signed_at") == 93


def test_a_column_cannot_come_twice() -> None:
    column = Column("a", "text", "", str)
    with pytest.raises(ValueError, match="a column twice"):
        Table("x.csv", "", (column, column))


def test_types_of_a_data_frame_fit_what_is_written() -> None:
    for table, data in ((CELLS, cells_csv([cell(), cell(mn=None)])), (SLIDES, slides_csv(slide()))):
        read = pd.read_csv(io.BytesIO(data), dtype=table.dtypes)
        assert list(read.columns) == list(table.dtypes)
