"""`mnbatch compare` from the command line."""

import signal

import pytest
import typer
from typer.testing import CliRunner

from mnbatch.cli.compare import compare
from mnbatch.errors import Interrupted

app = typer.Typer()
app.command()(compare)


def test_a_reduced_comparison_writes_its_tables_and_figure(crops, tmp_path, monkeypatch):
    out = tmp_path / "out"
    arguments = [str(crops), "--out", str(out), "--networks", "tiny,wide", "--reduced", "--threads", "1"]
    done = CliRunner().invoke(app, [*arguments, "--device", "cpu", "--limit", "24"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "4 of 4 runs" in done.output
    names = {path.name for path in out.iterdir()}
    assert names == {"cells", "comparison.csv", "comparison.md", "comparison.svg", "comparison.png"}
    page = (out / "comparison.md").read_text()
    assert "Reduced run: 2 of 60 epochs, at most 24 training cells." in page
    assert "minibatch 8" in page
    assert "float32" in page


def test_tables_of_a_killed_comparison_say_what_is_missing(crops, tmp_path, monkeypatch):
    from mnbatch.comparison import comparison_run as story

    real, count = story.measured, []

    def killed(**arguments):
        if count:
            raise KeyboardInterrupt
        count.append(1)
        return real(**arguments)

    monkeypatch.setattr(story, "measured", killed)
    out = tmp_path / "out"
    arguments = [str(crops), "--out", str(out), "--networks", "tiny", "--reduced", "--threads", "1", "--device", "cpu"]
    assert CliRunner().invoke(app, arguments).exit_code != 0
    assert "Not finished: 1 of 2 runs are here." in (out / "comparison.md").read_text()


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_comparison_with_a_word_on_what_is_kept(crops, tmp_path, monkeypatch, number, expected):
    from mnbatch.comparison import comparison_run as story

    def stopped(**arguments):
        signal.raise_signal(number)
        raise AssertionError("it went on")

    monkeypatch.setattr(story, "measured", stopped)
    out = tmp_path / "out"
    arguments = [str(crops), "--out", str(out), "--networks", "tiny", "--reduced", "--threads", "1", "--device", "cpu"]
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, Interrupted)
    assert error.code == expected
    assert error.message == f"Interrupted; the runs that are finished are kept in {out / 'cells'}."
