"""Opening an OUT, choosing report options, making reports: without the command line, and as it says."""

import dataclasses

import pytest

from mnbatch.app import rebuild as service
from mnbatch.app.rebuild import choose_options, make_reports, open_store, rebuild, rebuild_after_change
from mnbatch.errors import LockHeldError, NoInputError, UsageError
from mnbatch.report.build import ReportOptions
from mnbatch.results.lock import hold_lock, hold_out
from mnbatch.results.planned_slides import PlannedReport, latest_run, note_plan
from tests.in_process import mnbatch


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(NoInputError, match="holds no results of mnbatch"):
        open_store(tmp_path / "nowhere")


def test_options_are_what_is_given_then_the_last_runs_then_defaults(out):
    chosen = choose_options(out.paths, gallery=3)
    assert chosen.options == ReportOptions(gallery=3)
    assert chosen.note.endswith("--min-cells 200 is used. Say it with the command to be sure.")
    out.paths.manifest.write_text('{"settings": {"gallery": 5, "min_cells": 7, "geojson": true}}')
    chosen = choose_options(out.paths, min_cells=9, force=True)
    assert chosen.options == ReportOptions(gallery=5, min_cells=9, geojson=True, force=True)
    assert chosen.notes == ()


def plan_of(out, min_cells, after=None):
    """A job of a plan with this option notes it."""
    options = {"gallery": 6, "min_cells": min_cells, "geojson": True, "label_masks": True, "device": "cpu"}
    out.paths.runs.mkdir(exist_ok=True)
    note_plan(out.paths, "t", (), PlannedReport(options, latest_run(out.paths) if after is None else after))


def test_options_of_a_plan_are_those_of_the_report_after_its_jobs(out):
    plan_of(out, 10)
    planned = ReportOptions(gallery=6, min_cells=10, geojson=True, label_masks=True)
    assert choose_options(out.paths) == service.ReportChoice(planned)
    given = choose_options(out.paths, min_cells=9, geojson=False, label_masks=False)
    assert given.options == ReportOptions(gallery=6, min_cells=9)
    rebuild(out, planned)
    assert choose_options(out.paths).options == planned  # also when all of the plan is settled


def test_of_a_plan_and_a_run_the_later_one_says_how_reports_are_made(out):
    plan_of(out, 10)
    out.paths.manifest.write_text('{"started": "2026-11-01", "pid": 1, "settings": {"gallery": 5, "min_cells": 7}}')
    assert choose_options(out.paths).options == ReportOptions(gallery=5, min_cells=7)
    plan_of(out, 11)
    assert choose_options(out.paths).options.min_cells == 11
    plan_of(out, 10, after="")  # a job of the first plan, once more
    assert choose_options(out.paths).options.min_cells == 11
    out.paths.manifest.write_text('{"started": "2026-11-01", "pid": 2, "settings": {"gallery": 5, "min_cells": 8}}')
    assert choose_options(out.paths).options.min_cells == 8


@pytest.mark.parametrize("text", ["", "[]", "{", '{"after": ""}', '{"after": "", "options": 7}'])
def test_a_note_of_options_that_cannot_be_read_leaves_those_of_the_run(out, text):
    out.paths.runs.mkdir(exist_ok=True)
    (out.paths.runs / "plan-options.json").write_text(text)
    assert choose_options(out.paths).options == ReportOptions()


def test_reports_are_made_again_and_the_command_prints_what_is_returned(out):
    first = rebuild(out, ReportOptions(), contact_sheets=True)
    assert (len(first.slides), first.missing, first.validation) == (2, (), None)
    assert [path.name for path in first.contact_sheets] == ["contact-sheet.png"] * 2
    again = rebuild(out, ReportOptions())
    assert (again.pages_built, again.contact_sheets) == (0, None)
    said = mnbatch("report", out.paths.root)
    assert said.stdout.splitlines() == ["slides: 2, 2 done, 0 failed", "every page was up to date", again.text]
    assert said.stderr == f"mnbatch: {choose_options(out.paths).note}\n"


def test_own_scored_cells_are_kept(out, tmp_path):
    cells = tmp_path / "cells.csv"
    cells.write_text("cell_id,truth\ns1:d/s1/cell0000.tif,1\ns1:d/s1/cell0050.tif,0\n")
    done = rebuild(out, ReportOptions(), validation=cells)
    assert [cell.truth for cell in done.validation] == [True, False]
    cells.write_text("cell_id,truth\nnowhere,1\n")
    with pytest.raises(UsageError):
        rebuild(out, ReportOptions(), validation=cells)


def test_while_a_run_holds_out_a_change_waits_and_a_report_is_refused(out, monkeypatch):
    monkeypatch.setattr(service, "WAIT_SECONDS", 0.1)
    with hold_lock(out.paths.lock):
        done = rebuild_after_change(out)
        with pytest.raises(LockHeldError):
            rebuild(out, ReportOptions())
    assert (done.made, done.slides, done.pages_built) == (None, (), 0)
    assert done.text == f"The decisions are saved; the pages are made again when the run ends: {done.held}"
    assert not out.paths.index.exists()


def test_samples_of_the_caller_replace_the_sheet_in_force(out):
    with hold_out(out.paths):
        made = make_reports(out, ReportOptions(), {"s1": {"donor": "A"}, "s2": {"donor": "B"}})
    assert sorted(made.made.bases) == ["A", "B"]


def test_records_cannot_be_changed(out):
    with pytest.raises(dataclasses.FrozenInstanceError):
        rebuild_after_change(out).held = "nobody"  # type: ignore[misc]
