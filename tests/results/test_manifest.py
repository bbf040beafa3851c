import json

from mnbatch.results.manifest import Manifest, RunLog, read_manifest
from mnbatch.results.paths import OutPaths


def paths(tmp_path):
    (tmp_path / "runs").mkdir(exist_ok=True)
    return OutPaths(tmp_path)


def test_a_manifest_says_what_ran_and_how_it_ended(tmp_path):
    manifest = Manifest(paths(tmp_path), {"export": "/e"}, {"export": "option"})
    manifest.write()
    assert read_manifest(paths(tmp_path))["status"] == "running"
    manifest.slide("a", status="scored", cells=3)
    manifest.finish("finished", 3)
    content = read_manifest(paths(tmp_path))
    assert (content["status"], content["exit_code"]) == ("finished", 3)
    assert content["slides"]["a"] == {"attempts": 0, "status": "scored", "cells": 3}
    assert {"python", "torch", "mnbatch"} <= set(content["versions"])
    assert content["host"]


def test_attempts_go_on_from_run_to_run(tmp_path):
    for expected in (1, 2, 3):
        manifest = Manifest(paths(tmp_path), {}, {})
        manifest.attempt("a")
        manifest.finish("finished", 0)
        assert read_manifest(paths(tmp_path))["slides"]["a"]["attempts"] == expected


def test_a_torn_manifest_is_no_manifest(tmp_path):
    (tmp_path / "manifest.json").write_text('{"slides": {')
    assert read_manifest(paths(tmp_path)) is None
    Manifest(paths(tmp_path), {}, {}).finish("finished", 0)
    assert read_manifest(paths(tmp_path))["status"] == "finished"


def test_the_log_keeps_the_traceback(tmp_path):
    log = RunLog.start(paths(tmp_path))
    try:
        raise ValueError("torn")
    except ValueError as error:
        log.write("slide", level="error", error=error, slide="a")
    log.close()
    line = json.loads(log.path.read_text())
    assert (line["event"], line["level"], line["slide"], line["error"]) == ("slide", "error", "a", "torn")
    assert "test_manifest" in line["traceback"]
