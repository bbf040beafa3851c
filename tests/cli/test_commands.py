"""The command line as a person or a cron job meets it: streams, exit codes, one clear line."""

import json
import subprocess
import sys

import pytest

from tests import in_process


def mnbatch(*arguments, **kwargs):
    command = [sys.executable, "-m", "mnbatch", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)


def commands():
    import typer

    from mnbatch.cli import app

    root = typer.main.get_command(app)
    found = []
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        found += [(name, command), *((f"{name} {sub}", c) for sub, c in getattr(command, "commands", {}).items())]
    return found


@pytest.mark.parametrize(("name", "command"), commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_and_option_has_help(name, command):
    assert command.help, name
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{name} {parameter.name} has no help"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["run", "{tmp}/nowhere", "--out", "{tmp}/out"], 4),
        (["run", "{tmp}", "--out", "{tmp}/out"], 2),
        (["run", "{tmp}/export", "--out", "{tmp}/out", "--threshold", "7"], 2),
        (["run", "{tmp}/export", "--out", "{tmp}/out", "--model", "nothing"], 12),
        (["run", "{tmp}/export", "--out", "{tmp}/out"], 4),
        (["run", "{tmp}/export"], 2),
        (["run", "--no-such-option"], 2),
        (["scan", "{tmp}/export"], 4),
        (["scan", "{tmp}/export", "--layout", "nonsense"], 2),
        (["report", "{tmp}/nowhere"], 4),
        (["status", "{tmp}/nowhere"], 4),
        (["model", "verify", "{tmp}/nowhere"], 12),
    ],
)
def test_each_refusal_has_its_exit_code_and_no_traceback(tmp_path, arguments, code):
    (tmp_path / "export").mkdir()
    done = in_process.mnbatch(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


@pytest.mark.parametrize(("arguments", "code"), [(["report", "nowhere"], 4), (["run", "--no-such-option"], 2)])
def test_a_process_leaves_with_the_code_of_its_refusal(tmp_path, arguments, code):
    done = mnbatch(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


def test_settings_are_shown_with_their_origins(tmp_path):
    done = mnbatch("run", "e", "--out", "o", "--show-settings", "--min-cells", "7")
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert done.returncode == 0
    assert lines["min_cells"].split()[1:] == ["7", "option"]
    assert lines["layout"].split()[1:] == ["folder-per-slide", "default"]


def test_simulate_scan_run_status_report_speak_on_the_right_streams(tmp_path):
    made = mnbatch("simulate", tmp_path / "sim", "--donors", 1, "--slides", 2, "--cells", 8, "--seed", 3)
    assert made.returncode == 0, made.stderr
    export, out = tmp_path / "sim/export", tmp_path / "out"
    scanned = in_process.mnbatch("scan", export, "--layout", "donor-slide-folders", "--json")
    assert len(json.loads(scanned.stdout)["slides"]) == 2
    arguments = ["run", export, "--out", out, "--layout", "donor-slide-folders"]
    done = mnbatch(*arguments, "--samples", tmp_path / "sim/samples.csv")
    assert done.returncode == 0, done.stderr
    assert f"report: {out / 'index.html'}" in done.stdout
    assert "2 done" in done.stdout
    assert "\x1b" not in done.stderr
    assert "\r" not in done.stderr
    assert "%" not in done.stderr, "no progress bar off a terminal"
    again = mnbatch(*arguments, "--quiet")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    status = in_process.mnbatch("status", out, "--json")
    assert json.loads(status.stdout)["done"] == 2
    (out / "index.html").unlink()
    rebuilt = in_process.mnbatch("report", out)
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert (out / "index.html").exists()
    logs = [json.loads(line) for path in (out / "runs").glob("*.jsonl") for line in path.read_text().splitlines()]
    assert {"planned", "slide", "finished"} <= {line["event"] for line in logs}
