"""The same pictures under two donors: both are told, and neither is counted with them."""

from mnbatch.report.build import ReportOptions, build_reports


def test_six_of_ten_cells_of_another_donor_fail_both(store, add_slide, read_csv):
    add_slide(store, "a1", [0.1] * 10, first_digest=1, keep_crops=False, donor="A")
    add_slide(store, "b1", [0.1] * 10, first_digest=5, keep_crops=False, donor="B")
    add_slide(store, "b2", [0.1] * 10, first_digest=11, keep_crops=False, donor="B")
    build_reports(store, ReportOptions(gallery=0), {})
    rows = {row["slide_id"]: row for row in read_csv(store.paths.slides_csv)}
    assert [rows[name]["status"] for name in ("a1", "b1", "b2")] == ["failed", "failed", "done"]
    assert "6 of its 10 readable cells are the same pictures as cells of slide b1" in rows["a1"]["reason"]
    assert "6 of its 10 readable cells are the same pictures as cells of slide a1" in rows["b1"]["reason"]
    assert rows["b2"]["bn_cells"] == "10"  # four of them lie in b1 too, which is not counted


def test_one_cell_of_another_donor_leaves_both_denominators(store, add_slide, read_csv):
    add_slide(store, "a1", [0.1] * 40, first_digest=1, keep_crops=False, donor="A")
    add_slide(store, "b1", [0.1] * 40, first_digest=40, keep_crops=False, donor="B")
    add_slide(store, "b2", [0.1] * 5, first_digest=40, keep_crops=False, donor="B")
    build_reports(store, ReportOptions(gallery=0), {})
    rows = {row["slide_id"]: row for row in read_csv(store.paths.slides_csv)}
    assert (rows["a1"]["bn_cells"], rows["b1"]["bn_cells"], rows["b2"]["status"]) == ("39", "39", "failed")
    assert "not counted: the same pictures as cells of another donor" in rows["a1"]["warnings"]
    cells = read_csv(store.paths.slide("a1").cells_csv)
    assert cells[39]["reason"].endswith("of another donor, counted for neither")
    assert cells[39]["p_mn"] == ""


def test_the_sheet_says_whose_the_slides_are(store, add_slide, read_csv):
    add_slide(store, "a1", [0.1] * 10, first_digest=1, keep_crops=False, donor="A")
    add_slide(store, "b1", [0.1] * 10, first_digest=5, keep_crops=False, donor="B")
    build_reports(store, ReportOptions(gallery=0), {"b1": {"donor": "A"}})
    rows = {row["slide_id"]: row for row in read_csv(store.paths.slides_csv)}
    assert [rows[name]["bn_cells"] for name in ("a1", "b1")] == ["10", "4"]


def test_slides_that_show_the_same_cells_alone_name_each_other(store, add_slide, read_csv):
    """Both said that their cells are counted in another slide, and neither was."""
    for slide_id, cells in (("a1", 10), ("b1", 10), ("c1", 2), ("d1", 2)):
        first = 1 if cells == 10 else 500
        donor = slide_id[0].upper()
        add_slide(store, slide_id, [0.1] * cells, first_digest=first, keep_crops=False, donor=donor)
    build_reports(store, ReportOptions(gallery=0), {})
    rows = {row["slide_id"]: row for row in read_csv(store.paths.slides_csv)}
    assert {row["status"] for row in rows.values()} == {"failed"}
    for one, other in (("a1", "b1"), ("b1", "a1"), ("c1", "d1"), ("d1", "c1")):
        assert "counted in another slide" not in rows[one]["reason"]
        assert f"of slide {other}" in rows[one]["reason"]
        assert "of another donor" in rows[one]["reason"]
