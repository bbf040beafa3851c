"""The operator's night and morning: status that tells the truth, a quiet run, `--on-finish`, summary, settings file."""

from __future__ import annotations

import json
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mnbatch.app.finishing import tell_command
from mnbatch.app.out_status import seconds_of
from mnbatch.errors import UsageError
from mnbatch.results.lock import hold_lock
from mnbatch.settings import COMMANDS
from tests.cli.operator_tools import Place
from tests.in_process import mnbatch


def moved(place: Place) -> list[str]:
    """Arguments of a run over the copy of an export."""
    return place.run_arguments("--export-moved")


def without_failure(place: Place) -> None:
    """The slide that failed is gone, as if it never was."""
    shutil.rmtree(place.slide("D2-C"))
    shutil.rmtree(place.export / "D2/C")
    assert mnbatch("report", place.out).returncode == 0


def latest_run(place: Place, **fields: object) -> None:
    manifest = place.out / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | fields))


def test_status_says_when_to_look(place) -> None:
    said = mnbatch("status", place.out, "--quiet")
    assert (said.returncode, said.stdout) == (3, "look: 1 slide failed (2 of 3 slides counted)\n")
    without_failure(place)
    said = mnbatch("status", place.out, "--quiet")
    assert (said.returncode, said.stdout) == (0, "ok: the latest run finished (2 of 2 slides counted)\n")

    latest_run(place, status="failed", exit_code=10, message="The disk that holds out is full.")
    said = mnbatch("status", place.out)
    assert said.returncode == 6
    assert said.stdout.startswith("look: the latest run failed (exit code 10): The disk that holds out is full. (2 of")
    latest_run(place, status="interrupted", exit_code=143)
    assert mnbatch("status", place.out).returncode == 6
    latest_run(place, status="running", exit_code=None)
    said = mnbatch("status", place.out, "--quiet")
    assert (said.returncode, said.stdout[:31]) == (6, "look: the latest run was killed")
    with hold_lock(place.out / "lock.json"):
        assert mnbatch("status", place.out, "--quiet").stdout.startswith("ok: a run is going on")
    (place.out / "manifest.json").unlink()
    assert mnbatch("status", place.out, "--quiet").stdout.startswith("ok: there is no manifest of a run")
    assert mnbatch("status", place.out, "--max-age", "26h").returncode == 7


def test_status_knows_a_latest_run_that_is_too_old(place) -> None:
    without_failure(place)
    assert mnbatch("status", place.out, "--max-age", "26h").returncode == 0
    before = (datetime.now(UTC) - timedelta(hours=27)).isoformat(timespec="seconds")
    latest_run(place, finished=before, started=before)
    assert mnbatch("status", place.out).returncode == 0
    said = mnbatch("status", place.out, "--max-age", "26h", "--quiet")
    assert (said.returncode, said.stdout) == (7, "look: the latest run ended 27.0 h ago (2 of 2 slides counted)\n")
    latest_run(place, status="running", finished=None)
    with hold_lock(place.out / "lock.json"):
        assert "going on for 27.0 h" in mnbatch("status", place.out, "--max-age", "26h").stdout
    latest_run(place, status="finished", finished="soon")
    assert mnbatch("status", place.out, "--max-age", "26h").returncode == 7
    assert mnbatch("status", place.out, "--max-age", "26").returncode == 2


@pytest.mark.parametrize(("text", "seconds"), [("26h", 93600), ("90m", 5400), ("1.5d", 129600), (" 30S ", 30)])
def test_an_age_is_a_number_and_a_unit(text, seconds) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["26", "-1h", "0h", "1w", "", "inf h", "9" * 400 + "d"])
def test_other_ages_are_refused(text) -> None:
    with pytest.raises(UsageError):
        seconds_of(text)


def test_a_run_that_could_not_start_is_known_until_the_next_one(place) -> None:
    without_failure(place)
    gone = place.export.rename(place.root / "not mounted")
    assert place.process(*moved(place)).returncode == 4
    said = mnbatch("status", place.out, "--quiet")
    assert said.returncode == 6
    assert said.stdout.startswith("look: the latest run could not start (exit code 4): The export ")
    assert "is not a directory that can be read" in (place.out / "summary.md").read_text()
    gone.rename(place.export)
    with hold_lock(place.out / "lock.json"):
        assert place.process(*moved(place)).returncode == 11
    assert "could not start (exit code 4)" in mnbatch("status", place.out).stdout
    done = place.process(*moved(place))
    assert done.returncode == 0, done.stderr
    assert mnbatch("status", place.out).returncode == 0


def test_slides_that_wait_are_said(place) -> None:
    without_failure(place)
    (place.export / "D1/A/new.png").write_bytes((place.export / "D1/A/cell_000.png").read_bytes())
    assert place.process(*moved(place), "--settle", "600").returncode == 0
    said = mnbatch("status", place.out, "--quiet")
    assert (said.returncode, said.stdout) == (8, "look: 1 slide waiting for files (2 of 2 slides counted)\n")


def test_a_quiet_run_prints_what_is_wrong_and_nothing_else(place) -> None:
    done = place.process(*moved(place), "--quiet")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("failed: D2-C-")
    assert done.stderr.count("\n") == 1
    without_failure(place)
    done = place.process(*moved(place), "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_on_finish_is_told_of_the_night(place) -> None:
    told = place.root / "told.json"
    done = place.process(*moved(place), "--on-finish", f"cat > '{told}'")
    assert done.returncode == 3, done.stderr
    content = json.loads(told.read_text())
    assert list(content) == [
        *("schema_version", "mnbatch", "out", "exit_code", "outcome", "message", "next_step", "started", "finished"),
        *("this_run", "slides", "failed", "waiting", "verdict", "controls", "not_in_any_slide", "summary"),
    ]
    assert (content["exit_code"], content["outcome"]) == (3, "finished")
    counts = {"total": 3, "done": 2, "failed": 1, "waiting": 0, "copies": 0, "not_in_tables": 0}
    assert content["slides"] == counts
    assert [slide["donor"] for slide in content["failed"]] == ["D2"]
    assert (place.out / "summary.md").read_text() == content["summary"]
    lines = content["summary"].splitlines()
    assert lines[0] == "# mnbatch: the run finished, 2 of 3 slides counted"
    assert [line for line in lines if line.startswith("## ")] == ["## Done", "## Failed", "## What to do"]
    assert any(line.startswith("* D2-C-") and "(donor D2): " in line for line in lines)


def test_on_finish_is_told_of_a_run_that_could_not_start(place) -> None:
    told = place.root / "told.json"
    place.export.rename(place.root / "not mounted")
    done = place.process(*moved(place), "--on-finish", f"cat > '{told}'")
    assert done.returncode == 4
    content = json.loads(told.read_text())
    assert (content["exit_code"], content["outcome"], content["this_run"]) == (4, "failed", None)
    assert "is not a directory that can be read" in content["message"]


@pytest.mark.parametrize(
    ("command", "said"), [("exit 5", "exit code 5"), ("sleep 60", "took longer"), ("/no/such/thing", "exit code 127")]
)
def test_whatever_on_finish_does_the_run_is_done(place, command, said) -> None:
    without_failure(place)
    before = {path: path.read_bytes() for path in sorted(place.out.rglob("*.csv"))}
    done = place.process(*moved(place), "--quiet", "--on-finish", command, "--on-finish-seconds", "1")
    assert done.returncode == 0
    assert said in done.stderr
    assert {path: path.read_bytes() for path in sorted(place.out.rglob("*.csv"))} == before
    assert mnbatch("status", place.out).returncode == 0


def test_a_command_that_leaves_children_or_prints_without_end_holds_up_nobody(tmp_path) -> None:
    start = time.monotonic()
    assert tell_command("sleep 900 & exit 0", {}, 300.0) == ""
    assert "took longer than 1 seconds" in tell_command(
        "trap '' TERM; yes | head -c 100000; while :; do :; done", {}, 1.0
    )
    assert tell_command("exec <&-; exit 0", {"large": "x" * 1_000_000}, 300.0) == ""
    assert time.monotonic() - start < 600
    assert tell_command("kill -9 $$", {}, 300.0) == "it ended with signal 9"


def test_a_settings_file_serves_every_command(place) -> None:
    lab = place.root / "lab.toml"
    lab.write_text('min-cells = 5\n[status]\nmax-age = "1s"\nquiet = true\n[review.status]\njson = true\n')
    time.sleep(1.1)
    said = mnbatch("status", place.out, "--config", lab)
    assert (said.returncode, said.stdout.count("\n")) == (7, 1)
    assert place.process("status", place.out, environment={"MNBATCH_CONFIG": str(lab)}).returncode == 7
    assert mnbatch("status", place.out, "--config", lab, "--max-age", "9d").returncode == 3
    assert json.loads(mnbatch("review", "status", place.out, "--config", lab).stdout)
    said = mnbatch("run", place.export, "--out", place.out, "--config", lab, "--show-settings")
    assert f"5                              config {lab}" in said.stdout
    lab.write_text('[status]\nmax-agee = "1s"\n')
    said = mnbatch("status", place.out, "--config", lab)
    assert said.returncode == 2
    assert "Did you mean max_age?" in said.stderr
    lab.write_text("[stauts]\n")
    assert "Did you mean [status]?" in mnbatch("run", place.export, "--config", lab).stderr


@pytest.mark.parametrize("command", ["status", "scan", "report", "verify"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[run]\npseudonymize = true\n", "unknown keys: pseudonymize"),
        (b"pseudonymize = true\n", "unknown keys: pseudonymize"),
        ("[run]\nlayout = 'größe'\n".encode("latin-1"), "it is not UTF-8 text"),
        (None, "it is a directory"),
    ],
    ids=["table", "top", "latin-1", "directory"],
)
def test_every_command_says_what_is_wrong_with_a_settings_file(tmp_path, command, content, said) -> None:
    lab = tmp_path / "lab.toml"
    lab.mkdir() if content is None else lab.write_bytes(content)
    done = mnbatch(command, tmp_path, "--config", lab)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr.splitlines()[0]


def test_tables_of_a_settings_file_are_the_commands() -> None:
    import typer

    from mnbatch.cli import app

    assert {*typer.main.get_command(app).commands} == COMMANDS  # type: ignore[attr-defined]


def test_a_summary_of_a_moved_folder_says_no_path(place) -> None:
    assert str(Path(place.root)) not in (place.out / "summary.md").read_text()


def test_scores_of_an_earlier_out_are_taken_over(place) -> None:
    """Last month's export into a new OUT: nothing is scored, and the numbers are the same bytes."""
    without_failure(place)
    new = place.root / "new"
    options = place.run_arguments()[2:]
    options[options.index(str(place.out))] = str(new)
    argv = ["run", str(place.export), *options, "--reuse", str(place.out)]
    planned = json.loads(place.process(*argv, "--plan-only", "--json").stdout)
    assert [(slide["action"], slide["why"], slide["files"]) for slide in planned["slides"]] == [("score", "new", 6)] * 2
    assert not new.exists()
    done = place.process(*argv)
    assert done.returncode == 0, done.stderr
    assert "2 slides" in next(line for line in done.stdout.splitlines() if line.startswith("scores taken over"))
    assert "0 scored" in done.stdout
    assert "The scores of 2 slides were taken over" in (new / "summary.md").read_text()
    for path in [*place.out.glob("*.csv"), *place.out.glob("slides/*/g1/*"), *place.out.glob("slides/*/cells.csv")]:
        assert (new / path.relative_to(place.out)).read_bytes() == path.read_bytes(), path
    assert mnbatch("verify", new).returncode == 0
    plans = json.loads(place.process(*argv, "--plan-only", "--json").stdout)["slides"]
    assert [slide["action"] for slide in plans] == ["keep", "keep"]
    assert place.process(*argv, "--out", place.root / "coded", "--pseudonymise").returncode == 2


def test_other_contents_models_and_damaged_results_are_not_taken_over(place) -> None:
    from mnbatch.inference.catalogue import ModelSet
    from mnbatch.pipeline.planning import Stamps, plan_slides
    from mnbatch.pipeline.reuse import Reuse
    from mnbatch.pipeline.run import find_slides
    from mnbatch.results.store import Store
    from mnbatch.settings import resolve

    without_failure(place)
    given = {"export": place.export, "out": place.root / "new", "model": str(place.model)}

    def actions(**more: object) -> list[str]:
        settings = resolve({**given, "layout": "donor-slide-folders", **more}, environment={}).settings
        store, stamps = Store(settings.out), Stamps(ModelSet.open(settings.model), settings)
        reuse = Reuse(place.out, store, stamps)
        slides = find_slides(settings.export, layout=settings.layout, kind="crops")
        found: list[str] = [reuse.plan(plan).action for plan in plan_slides(slides, store, stamps)]
        shutil.rmtree(settings.out, ignore_errors=True)
        return found

    assert actions() == ["reuse", "reuse"]
    assert actions(keep_crops=False) == ["score", "score"]
    assert actions(stain="giemsa") == ["score", "score"]
    cell = place.export / "D1/A/cell_000.png"
    cell.write_bytes((place.export / "D1/A/cell_001.png").read_bytes())
    assert actions() == ["score", "reuse"]
    scores = place.slide("D2-B") / "g1/scores.csv"
    scores.write_bytes(scores.read_bytes()[:-1] + b"1")
    assert actions() == ["score", "score"]
