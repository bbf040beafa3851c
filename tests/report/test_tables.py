import io
from dataclasses import replace

import pandas as pd
import pytest

from mnbatch.assay.calls import CalledCell, Frequency
from mnbatch.csvfile import shown
from mnbatch.report.tables import (
    CELL_COLUMNS,
    DONOR_COLUMNS,
    SLIDE_COLUMNS,
    CountRow,
    DonorRow,
    SlideRow,
    cells_csv,
    donors_csv,
    slides_csv,
)

COUNTS = CountRow("done", "", Frequency.of(3, 200), 2, 5, "m 1", "abc", "0.43", ("look twice", "once more"))


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
    assert tuple(pd.read_csv(io.BytesIO(data)).columns) == CELL_COLUMNS


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
    row = SlideRow("s-1", "D", "s", COUNTS, {"dose_gy": "-1.5", "note": "-x"})
    table = frame(slides_csv([row]))
    assert (table.dose_gy[0], table.note[0]) == ("-1.5", "'-x")


def test_columns_are_the_same_with_and_without_a_sample_sheet() -> None:
    rows = [SlideRow("s-1", "D", "s", COUNTS, {"dose_gy": "2"}), SlideRow("s-2", "", "t", COUNTS)]
    table = frame(slides_csv(rows))
    assert tuple(table.columns) == SLIDE_COLUMNS == tuple(frame(slides_csv([])).columns)
    assert list(table.dose_gy) == ["2", ""]


def test_counts_and_rates_of_a_done_slide() -> None:
    row = frame(slides_csv([SlideRow("s-1", "D", "s", COUNTS)])).iloc[0]
    assert (row.bn_cells, row.mnbn_cells, row.excluded_cells, row.flagged_cells) == ("200", "3", "2", "5")
    assert float(row.mnbn_per_1000) == 15.0
    assert float(row.ci_low) == pytest.approx(3.1048, abs=1e-3)
    assert row.warnings == "look twice; once more"


def test_a_failed_slide_has_no_number_and_no_zero() -> None:
    failed = replace(COUNTS, status="failed", reason="nothing readable", frequency=None, excluded_cells=7)
    row = frame(slides_csv([SlideRow("s-1", "D", "s", failed)])).iloc[0]
    empty = ["bn_cells", "flagged_cells", "mnbn_cells", "mnbn_per_1000", "ci_low", "ci_high"]
    assert [row[name] for name in empty] == [""] * 6
    assert (row.excluded_cells, row.reason) == ("7", "nothing readable")


def test_donor_table_has_the_slides_columns_and_their_number() -> None:
    table = frame(donors_csv([DonorRow("D", COUNTS, slides=3, slides_failed=1)]))
    assert tuple(table.columns) == DONOR_COLUMNS
    assert (table.slides[0], table.slides_done[0], table.slides_failed[0]) == ("3", "2", "1")


def test_an_empty_donor_table_still_has_its_header() -> None:
    assert tuple(frame(donors_csv([])).columns) == DONOR_COLUMNS
