"""`mnbatch model`: what a person reads of a model, and exit code 12 for one that is not whole."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mnbatch.cli.model import model_app
from mnbatch.errors import ModelError
from mnbatch.inference import catalogue
from mnbatch.inference.catalogue import verify_model
from mnbatch.inference.model_directory import write_model_directory
from mnbatch.networks.attention_alexnet import AttentionAlexNet
from tests.inference.inference_helpers import card_fields


@pytest.fixture
def bundled(tmp_path: Path, model_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of bundled models: the default, and one that is damaged."""
    shutil.copytree(model_path, tmp_path / catalogue.DEFAULT)
    shutil.copytree(model_path, tmp_path / "damaged")
    with (tmp_path / "damaged" / "model.safetensors").open("ab") as stream:
        stream.write(b"x")
    monkeypatch.setattr(catalogue, "models_directory", lambda: tmp_path)
    return tmp_path


def test_list_marks_the_default_and_names_damage(bundled: Path) -> None:
    result = CliRunner().invoke(model_app, ["list"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("* attention-alexnet")
    assert "fluorescence" in lines[0]
    assert "damaged  DAMAGED" in lines[1]


def test_list_as_json(bundled: Path) -> None:
    entries = json.loads(CliRunner().invoke(model_app, ["list", "--json"]).stdout)
    assert [entry["name"] for entry in entries] == ["attention-alexnet", "damaged"]
    assert [entry["default"] for entry in entries] == [True, False]
    assert "SHA-256" in entries[1]["damaged"]


def test_show_prints_what_a_reader_of_a_report_must_know(bundled: Path) -> None:
    result = CliRunner().invoke(model_app, ["show"])
    assert result.exit_code == 0
    for text in (
        "knows nothing",
        "threshold",
        "0.5",
        verify_model(bundled / catalogue.DEFAULT).digest,
        "MIT",
    ):
        assert text in result.stdout


def test_show_prints_metrics_and_rates_with_their_counts(tmp_path: Path, network: AttentionAlexNet) -> None:
    metric = {
        "data": "held-out",
        "n": 90,
        "n_mn": 7,
        "name": "auc",
        "value": 0.95,
        "ci_low": 0.9,
        "ci_high": 0.98,
    }
    fields = card_fields(metrics=(metric,), sensitivity={"data": "held-out", "right": 6, "total": 7})
    write_model_directory(tmp_path / "model", network, fields)
    shown = CliRunner().invoke(model_app, ["show", str(tmp_path / "model")]).stdout
    assert "auc 0.950 (95 % CI 0.900 to 0.980) on held-out: 90 cells, 7 with MN" in shown
    assert "0.857 (6 of 7, held-out)" in shown


def test_show_as_json_is_the_card_with_digest(model_path: Path) -> None:
    shown = json.loads(CliRunner().invoke(model_app, ["show", str(model_path), "--json"]).stdout)
    assert shown["digest"] == verify_model(model_path).digest
    assert shown["preparation"]["size"] == 224


def test_verify_checks_all_and_fails_for_one(bundled: Path) -> None:
    result = CliRunner().invoke(model_app, ["verify"])
    assert result.exit_code == ModelError.exit_code
    assert f"ok  {bundled / catalogue.DEFAULT}" in result.output
    assert "SHA-256" in result.output
    assert CliRunner().invoke(model_app, ["verify", catalogue.DEFAULT]).exit_code == 0


def test_verify_goes_on_after_an_unknown_name(bundled: Path) -> None:
    result = CliRunner().invoke(model_app, ["verify", "nothing", catalogue.DEFAULT])
    assert result.exit_code == ModelError.exit_code
    assert "no model 'nothing'" in result.output
    assert f"ok  {bundled / catalogue.DEFAULT}" in result.output


def test_show_needs_no_torch(model_path: Path) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from mnbatch.cli.model import model_app;"
        f"assert CliRunner().invoke(model_app, ['show', {str(model_path)!r}]).exit_code == 0;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
