"""Options resolved once into one frozen object: command line, then environment, then `mnbatch.toml`, then defaults."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from mnbatch import renamed
from mnbatch.errors import UsageError
from mnbatch.intake import nearest, read_text, reason, short

ENVIRONMENT_PREFIX = "MNBATCH_"
_LONGEST_TEXT = 4096
_LONGEST_WAIT = 1e9
DEFAULT_MODEL = "attention-alexnet"
CONFIG_VARIABLE = "MNBATCH_CONFIG"
"""Where the settings file is, for commands that are not given --config."""

COMMANDS = frozenset(
    {
        *("ack", "adapt", "archive", "compare", "curve", "dose", "evaluate", "forget", "history", "model", "report"),
        *("review", "run", "scan", "score", "simulate", "status", "train", "validate", "verify"),
    }
)
"""Tables that a settings file may have: one a command."""
_PAGES = "(cells|positions|channels|planes|times)(:[1-9][0-9]{0,4})?"


class RunSettings(BaseModel):
    """Everything a run depends on.

    Attributes:
        export: root of the scanner's export; read only.
        out: output directory, outside of the export.
        layout: name of a layout preset, or a pattern such as '{donor}/{slide}/{cell}.tif'.
        input: what the export holds: crops, fields or wsi (whole slides); auto recognises it.
        samples: sample sheet (CSV), or None.
        laboratory: laboratory.toml, which is kept for the reports of OUT; None leaves the one in force.
        settle: seconds since a slide's newest file after which it counts as written; None takes slides as they are.
        cells: of fields and whole slides, the cells that are scored: binucleated ones, or all main nuclei.
        nuclear_channel: channel of images with several, counted from 1, or its name; None takes the one whose name says
            nuclear stain.
        cytoplasm_channel: of fields, a second channel by whose cytoplasm nuclei are paired into cells; None for none.
        planes: of focal planes the sharpest, the brightest of each pixel (max), or the one of this number from 1.
        time: of several times the one of this number from 1.
        pages: what pages of TIFFs are that do not say it: cells (or positions), channels or planes; with commas for
            several axes.
        names: how files of one scene are named: an instrument (operetta, imagexpress, ...), a pattern such as
            '{field}_z{plane}', plain (each file is a cell or field of its own), or auto to recognise it.
        um_per_pixel: pixel size of fields and whole slides; None takes the sample sheet's, or what the files say.
        model: name of a bundled model or path of a model directory.
        stain: force the model for this stain, or None to recognise each slide's stain.
        device: auto, cpu, cuda, cuda:N, several as cuda:0,cuda:1, or all GPUs.
        precision: of the convolutions: fp32, bf16 (attention-alexnet, on processors and GPUs that have it; slides that
            were scored in the other are scored again), or auto: bf16 on a GPU where it was measured, else fp32.
        minibatch: cells a minibatch, or None to choose.
        workers: processes that decode, or None to choose.
        file_deadline: seconds that a file (a region of a whole slide) may take to be read; then it is unreadable.
        file_memory: GiB that reading it may take.
        threshold: call MN at p_mn >= threshold, or None for the model card's.
        max_bad_fraction: a slide with a larger share of unreadable cells fails.
        min_cells: a donor with fewer BN cells is `insufficient`.
        gallery: cells shown a page in each part of the gallery (highest, most uncertain).
        keep_crops: keep crops and maps in OUT (about 10 kB a cell).
        geojson: also write the cells of fields and whole slides as GeoJSON for QuPath.
        label_masks: also write them as label images, OME-TIFF.
        pseudonymise: codes in place of source names in everything but OUT/private and the logs.
        verify: hash the content of every file again, also of slides whose files look unchanged, and all of OUT.
        retry_failed: try slides again that failed for good.
        export_moved: OUT's export is at another path now.
        reuse: another OUT, whose scores are taken over where contents, model and settings are the same.
        on_finish: shell command that gets a summary of the run as JSON when the run has ended, however it did.
        on_finish_seconds: then it is ended.
        cluster: score on the workers of a Dask cluster: address of its scheduler, local:N, or a TOML file of jobs.
        cluster_timeout: seconds without any worker after which the run ends.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    export: Path
    out: Path
    layout: str = "folder-per-slide"
    input: Literal["auto", "crops", "fields", "wsi"] = "auto"
    samples: Path | None = None
    laboratory: Path | None = None
    settle: float | None = Field(default=None, ge=0, le=_LONGEST_WAIT)
    cells: Literal["binucleated", "all"] = "binucleated"
    nuclear_channel: str | None = None
    cytoplasm_channel: str | None = Field(default=None, min_length=1)
    planes: str | None = Field(default=None, pattern=r"^(sharpest|max|[1-9][0-9]{0,4})$")
    time: int | None = Field(default=None, ge=1, le=65536)
    pages: str | None = Field(default=None, pattern=rf"^{_PAGES}(,{_PAGES}){{0,3}}$")
    names: str = "auto"
    um_per_pixel: float | None = Field(default=None, ge=0.02, le=5)
    model: str = DEFAULT_MODEL
    stain: Literal["fluorescence", "giemsa"] | None = None
    device: str = Field(default="auto", pattern=r"^(auto|all|cpu|cuda(:\d+)?(,cuda:\d+)*)$")
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    minibatch: int | None = Field(default=None, ge=1, le=65536)
    workers: int | None = Field(default=None, ge=1, le=256)
    file_deadline: float = Field(default=120.0, ge=1, le=86400)
    file_memory: float = Field(default=4.0, ge=0.25, le=1024)
    threshold: float | None = Field(default=None, gt=0, lt=1)
    max_bad_fraction: float = Field(default=0.1, ge=0, lt=1)
    min_cells: int = Field(default=200, ge=0, le=10**9)
    gallery: int = Field(default=24, ge=0, le=5000)
    keep_crops: bool = True
    geojson: bool = False
    label_masks: bool = False
    pseudonymise: bool = False
    verify: bool = False
    retry_failed: bool = False
    export_moved: bool = False
    reuse: Path | None = None
    on_finish: str | None = None
    on_finish_seconds: float = Field(default=60.0, ge=1, le=86400)
    cluster: str | None = None
    cluster_timeout: float = Field(default=300.0, ge=1, le=_LONGEST_WAIT)

    @field_validator("*", mode="before")
    @classmethod
    def _no_impossible_text(cls, value: object) -> object:
        text = str(value) if isinstance(value, str | Path) else ""
        if "\0" in text or len(text) > _LONGEST_TEXT:
            raise ValueError(f"a text of {len(text)} letters is too long" if "\0" not in text else "it holds a NUL")
        return value

    @field_validator("minibatch", mode="before")
    @classmethod
    def _auto_is_none(cls, value: object) -> object:
        return None if value == "auto" else value

    @field_validator("cytoplasm_channel")
    @classmethod
    def _another_channel(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and value.casefold() == (info.data.get("nuclear_channel") or "").casefold():
            raise ValueError("it is the nuclear channel")
        return value

    @property
    def stated_names(self) -> str | None:
        """How files are named, as a person says it; None to recognise it."""
        return None if self.names == "auto" else self.names


@dataclass(frozen=True, slots=True)
class ResolvedSettings:
    """Settings with the origin of each value.

    Attributes:
        origins: field -> `option`, `environment MNBATCH_X`, `config FILE` or `default`.
    """

    settings: RunSettings
    origins: Mapping[str, str]


def resolve(
    options: Mapping[str, Any], *, config: Path | None = None, environment: Mapping[str, str] | None = None
) -> ResolvedSettings:
    """Merge the sources of settings, each field from the first source that has it.

    Args:
        options: what was typed; None means not typed.
        config: TOML file with the fields' names as keys, at the top or in a table [run]; hyphens are accepted.
        environment: variables MNBATCH_<FIELD>; the process's own by default.

    Raises:
        UsageError: an unknown key or variable, or a value that does not fit, naming key and source.
    """
    environment = os.environ if environment is None else environment
    refuse_unknown_variables(environment)
    sources: list[tuple[Mapping[str, Any], str]] = [({k: v for k, v in options.items() if v is not None}, "option")]
    fields = RunSettings.model_fields
    from_environment = {
        name: environment[ENVIRONMENT_PREFIX + name.upper()]
        for name in (*fields, *renamed.SETTINGS)
        if environment.get(ENVIRONMENT_PREFIX + name.upper())
    }
    sources.append((from_environment, f"environment {ENVIRONMENT_PREFIX}*"))
    if config is not None:
        sources.append((read_settings_file(config)["run"], f"config {config}"))
    values: dict[str, Any] = {}
    origins = dict.fromkeys(fields, "default")
    for source, origin in reversed(sources):
        known = renamed.current_settings(source)
        values.update(known)
        origins.update(dict.fromkeys(known, origin))
    try:
        return ResolvedSettings(RunSettings.model_validate(values), origins)
    except ValidationError as error:
        raise _usage_error(error, origins) from error


def refuse_unknown_variables(environment: Mapping[str, str] | None = None) -> None:
    """Refuse variables MNBATCH_* that are no setting: a misspelt MNBATCH_PSEUDONYMISE would publish names.

    Raises:
        UsageError: there is one; names the setting that is nearest to it.
    """
    known = [ENVIRONMENT_PREFIX + name.upper() for name in (*RunSettings.model_fields, *renamed.SETTINGS)]
    known.append(CONFIG_VARIABLE)
    for name in sorted(os.environ if environment is None else environment):
        if name.upper().startswith(ENVIRONMENT_PREFIX) and name not in known:
            like = nearest(name.upper(), known)
            raise UsageError(
                f"The environment variable {short(name)} is not a setting of mnbatch"
                f"{f'; did you mean {like}?' if like else '.'}",
                "Correct its name or unset it; `mnbatch run --show-settings` lists the settings.",
            )


def check_pages(options: Any) -> None:
    """Refuse what is said of pages as `resolve` does, for a command that needs no other settings.

    Args:
        options: a `PageOptions`.

    Raises:
        UsageError: a value that does not fit.
    """
    given = {"planes": options.planes, "time": options.time, "pages": options.pages}
    given |= {"nuclear_channel": options.channel, "cytoplasm_channel": options.cytoplasm}
    resolve({"export": Path(), "out": Path(), **given}, environment={})


def read_settings_file(path: Path) -> dict[str, Any]:
    """The tables of a settings file, one a command; what is above the first table is the table `run`.

    Raises:
        UsageError: it cannot be read, is no TOML, has a table of no command, or in that of `run` a key that is no
            setting. Every command says so: a misspelt `pseudonymise` is found before the run of the night.
    """
    try:
        data = tomllib.loads(read_text(path))
    except OSError as error:
        raise UsageError(f"Cannot read the settings file {path}: {reason(error)}.", "Check --config.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"The settings file {path} is not valid TOML: {reason(error)}.", "Correct it, and save it as UTF-8 text."
        ) from error
    for name in sorted(COMMANDS & data.keys()):
        if not isinstance(data[name], dict):
            raise UsageError(
                f"In the settings file {path}, {name} is not a table.", f"Write [{name}] and the settings below it."
            )
    unknown = sorted(name for name, value in data.items() if isinstance(value, dict) and name not in COMMANDS)
    if unknown:
        like = nearest(unknown[0], COMMANDS)
        raise UsageError(
            f"The settings file {path} has a table [{short(unknown[0])}], which is no command.",
            f"{f'Did you mean [{like}]? ' if like else ''}Tables: {', '.join(sorted(COMMANDS))}.",
        )
    tables = {name: data[name] for name in data if name in COMMANDS}
    plain = {name: value for name, value in data.items() if name not in COMMANDS}
    run = {key.replace("-", "_"): value for key, value in (plain | tables.get("run", {})).items()}
    _refuse_unknown_keys(path, run)
    return {**tables, "run": run}


def _refuse_unknown_keys(path: Path, values: Mapping[str, Any]) -> None:
    unknown = sorted(set(values) - set(RunSettings.model_fields) - set(renamed.SETTINGS))
    if unknown:
        known = ", ".join(sorted(RunSettings.model_fields))
        like = nearest(unknown[0], RunSettings.model_fields)
        raise UsageError(
            f"The settings file {path} has unknown keys: {short(', '.join(unknown))}.",
            f"{f'Did you mean {like}? ' if like else ''}Known keys: {known}.",
        )


def _usage_error(error: ValidationError, origins: Mapping[str, str]) -> UsageError:
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else "?"
    option = "--" + name.replace("_", "-")
    if first["type"] == "missing":
        return UsageError(f"The setting {name} is missing.", f"Give {option} (or see `mnbatch run --help`).")
    return UsageError(
        f"{option} cannot be {short(repr(first['input']))} (from {origins.get(name, 'option')}): {first['msg']}.",
        "See `mnbatch run --help`.",
    )
