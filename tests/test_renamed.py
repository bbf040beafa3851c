"""Old names of settings, options, inputs and stored fields are still read, and warned of where a person typed them."""

import json
import subprocess
import sys

import pytest

from mnbatch import renamed
from mnbatch.imaging.fields import field_options
from mnbatch.imaging.fields.field_options import FieldOptions
from mnbatch.imaging.segmentation import segmentation_settings
from mnbatch.inference.card import ModelCard
from mnbatch.inference.catalogue import resolve_model
from mnbatch.results.keys import score_key
from mnbatch.results.records import ScoreKeyParts, SlideRecord
from mnbatch.settings import resolve

PLACES = {"export": "/e", "out": "/o"}


def test_old_settings_are_taken_and_warned_of(tmp_path):
    config = tmp_path / "mnbatch.toml"
    config.write_text('keep-gallery = false\ninput = "gallery"\n')
    with pytest.warns(renamed.RenamedWarning) as said:
        settings = resolve(PLACES, config=config, environment={}).settings
    assert (settings.keep_crops, settings.input) == (False, "crops")
    texts = [str(warning.message) for warning in said]
    assert any("--no-gallery is called --no-crops now" in text for text in texts)
    assert any("--input gallery is called --input crops now" in text for text in texts)


def test_an_old_variable_is_taken():
    with pytest.warns(renamed.RenamedWarning):
        found = resolve(PLACES, environment={"MNBATCH_KEEP_GALLERY": "false"})
    assert found.settings.keep_crops is False
    assert found.origins["keep_crops"].startswith("environment")


def test_where_both_names_are_given_the_one_of_today_holds():
    with pytest.warns(renamed.RenamedWarning):
        found = resolve({**PLACES, "keep_gallery": False, "keep_crops": True}, environment={})
    assert found.settings.keep_crops is True


def test_the_command_line_warns_in_one_line_on_stderr(tmp_path):
    command = [sys.executable, "-m", "mnbatch", "run", str(tmp_path), "--out", str(tmp_path / "o")]
    command += ["--no-gallery", "--show-settings"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == "mnbatch: --no-gallery is called --no-crops now; version 0.4 removes the old name.\n"
    assert "keep_crops         False" in done.stdout


def test_a_record_of_an_earlier_version_is_read():
    parts = {"content": "c", "model": "m", "reader": "r", "stain": "", "gallery": True, "fields": ""}
    old = {
        "slide_id": "s",
        "name": "s",
        "path": "s",
        "donor": None,
        "layout": "l",
        "status": "scored",
        "stat_key": "k",
        "look": "giemsa",
        "looks": {"giemsa": 3},
        "input": "gallery",
        "parts": parts,
        "fields": {"cells": "all", "fields": 2, "empty": 0, "set_aside": [{"path": "f", "reason": "torn"}]},
    }
    record = SlideRecord.model_validate_json(json.dumps(old))
    assert (record.stain, record.stains, record.input) == ("giemsa", {"giemsa": 3}, "crops")
    assert record.parts is not None
    assert record.parts.crops is True
    assert record.fields is not None
    assert len(record.fields.skipped) == 1
    assert SlideRecord.model_validate_json(record.model_dump_json()) == record


def test_slides_that_an_earlier_version_scored_keep_their_key():
    parts = ScoreKeyParts(content="c", model="m", reader="r", stain="", crops=True, fields="f")
    # As version 0.2 computed them.
    assert score_key(parts) == "e582ae63bf2a916bf9577c413191ed91"
    assert score_key(parts.model_copy(update={"fields": "", "crops": False})) == "237809949a5c2d7e7ff263fefd6508eb"


def test_fields_that_an_earlier_version_segmented_keep_their_key(monkeypatch):
    monkeypatch.setattr(field_options, "FIELDS_VERSION", 0)
    monkeypatch.setattr(segmentation_settings, "SEGMENTATION_VERSION", 0)
    assert FieldOptions(stain="giemsa").key(0.5) == "4cf868d69443b6d1"


def test_a_card_with_the_old_field_is_read(shipped_card):
    old = dict(shipped_card)
    stains = old.pop("stains", None) or old.pop("looks")
    assert ModelCard.model_validate_json(json.dumps(old | {"looks": stains})).stains == tuple(stains)
    assert ModelCard.model_validate_json(json.dumps(old | {"stains": stains})).stains == tuple(stains)


@pytest.fixture
def shipped_card():
    return json.loads((resolve_model("attention-alexnet") / "giemsa" / "model.json").read_text(encoding="utf-8"))
