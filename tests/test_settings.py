import pytest

from mnbatch.errors import UsageError
from mnbatch.settings import RunSettings, resolve

PLACES = {"export": "/e", "out": "/o"}


def test_option_beats_environment_beats_file_beats_default(tmp_path):
    config = tmp_path / "mnbatch.toml"
    config.write_text('min-cells = 1\ngallery = 2\nmax-bad-fraction = 0.3\nlayout = "flat-files"\n')
    environment = {"MNBATCH_MIN_CELLS": "5", "MNBATCH_GALLERY": "6"}
    resolved = resolve({**PLACES, "min_cells": 9, "gallery": None}, config=config, environment=environment)
    settings = resolved.settings
    assert (settings.min_cells, settings.gallery, settings.max_bad_fraction, settings.workers) == (9, 6, 0.3, None)
    assert resolved.origins["min_cells"] == "option"
    assert resolved.origins["gallery"].startswith("environment")
    assert resolved.origins["layout"] == f"config {config}"
    assert resolved.origins["workers"] == "default"


def test_a_table_named_run_is_read_as_well(tmp_path):
    config = tmp_path / "c.toml"
    config.write_text('[run]\nexport = "/e"\nout = "/o"\npseudonymise = true\n')
    assert resolve({}, config=config, environment={}).settings.pseudonymise


@pytest.mark.parametrize(
    ("options", "environment", "text", "names"),
    [
        ({}, {}, "", "export"),
        (PLACES | {"threshold": 1.5}, {}, "", "--threshold"),
        (PLACES | {"device": "tpu"}, {}, "", "--device"),
        (PLACES, {"MNBATCH_MIN_CELLS": "many"}, "", "--min-cells"),
        (PLACES, {}, "colour = 3", "colour"),
        (PLACES, {}, "min-cells = = 3", "TOML"),
        (PLACES | {"stain": "feulgen"}, {}, "", "--stain"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(tmp_path, options, environment, text, names):
    config = tmp_path / "mnbatch.toml"
    config.write_text(text)
    with pytest.raises(UsageError, match=names):
        resolve(options, config=config, environment=environment)


def test_minibatch_auto_means_that_the_program_chooses():
    assert resolve(PLACES | {"minibatch": "auto"}, environment={}).settings.minibatch is None
    assert resolve(PLACES | {"minibatch": "64"}, environment={}).settings.minibatch == 64


def test_settings_cannot_be_changed_after_they_were_resolved():
    settings = resolve(PLACES, environment={}).settings
    with pytest.raises(ValueError, match="frozen"):
        settings.min_cells = 3  # type: ignore[misc]
    assert isinstance(settings, RunSettings)
