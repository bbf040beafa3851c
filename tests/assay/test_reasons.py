"""Reasons keep what they were made of, lose names when they are coded, and are made in no other way."""

import ast
import copy
import errno
import pickle
import string
from pathlib import Path

import pytest

from mnbatch.assay.reasons import TEXTS, Foreign, Named, Reason, foreign, foreign_os, reason_of, say, shareable

PACKAGE = Path(__file__).resolve().parents[2] / "mnbatch"
SPOKEN = {"SlideError", "UndecodableError", "PreparationError"}


def coder(kind, name):
    return f"{kind}-code"


def calls():
    """Every call of a plain name on the way of a run, with the file that it stands in."""
    for room in ("assay", "imaging", "inference", "pipeline", "results"):
        for path in sorted((PACKAGE / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    yield path, node, node.func.id


def test_a_reason_is_its_text_and_its_parts():
    reason = say("too-small", width=3, height=5, least=16)
    assert reason == "3 x 5 pixels; a cell crop has at least 16 a side"
    assert (reason.code, reason.parameters["height"]) == ("too-small", 5)
    assert reason.render() == str(reason)


def test_names_become_codes_and_foreign_text_its_class():
    why = ValueError("cannot open '/share/Anna/mask.png'")
    reason = say("mask-unreadable", mask=Named("mask", "Anna_mask.png"), error=foreign(why))
    assert reason == "its label image Anna_mask.png cannot be read (cannot open '/share/Anna/mask.png')"
    assert reason.coded(coder) == "its label image mask-code cannot be read (ValueError)"


def test_reasons_within_reasons_are_coded_too():
    inner = say("openslide", error=Foreign("at /share/Anna", "OpenSlideError"))
    reason = say("region", left=1, top=2, why=foreign(ValueError(inner)))
    assert reason == "region from 1, 2: OpenSlide: at /share/Anna"
    assert reason.coded(coder) == "region from 1, 2: OpenSlide: OpenSlideError"


def test_the_system_is_quoted_by_its_code():
    error = OSError(errno.EIO, "Input/output error: /share/Anna", "/share/Anna")
    assert say("io-error", error=foreign_os(error)).coded(coder) == "file could not be read: EIO"


@pytest.mark.parametrize("again", [lambda r: pickle.loads(pickle.dumps(r)), copy.deepcopy, copy.copy])
def test_a_reason_crosses_processes_whole(again):
    reason = again(say("mask-no-labels", mask=Named("mask", "Anna.png")))
    assert isinstance(reason, Reason)
    assert reason.coded(coder) == "its label image mask-code has no whole numbers"


def test_a_name_that_is_no_text_can_be_written():
    assert say("mask-no-labels", mask=Named("mask", "a\udce9.png")).encode("utf-8") == (
        b"its label image a\\udce9.png has no whole numbers"
    )


def test_an_exception_carries_its_reason():
    reason = say("empty-file")
    assert reason_of(ValueError(reason)) is reason
    assert reason_of(ValueError("plain")) == "plain"


def test_text_of_unknown_origin_is_withheld():
    assert shareable("Anna's file is broken", coder) == TEXTS["withheld"]
    assert shareable("empty file (0 bytes)", coder) == "empty file (0 bytes)"
    assert shareable("", coder) == ""


def test_errors_of_slides_and_cells_are_made_of_reasons():
    for path, call, name in calls():
        if name in SPOKEN:
            for text in call.args[:2]:
                assert not isinstance(text, ast.JoinedStr | ast.Constant), f"{path}:{call.lineno}: use say()"


def test_every_code_is_in_the_table_with_its_parameters():
    for path, call, name in calls():
        if name == "say" and isinstance(call.args[0], ast.Constant):
            code = call.args[0].value
            wanted = {field for _, field, _, _ in string.Formatter().parse(TEXTS[code]) if field}
            assert wanted == {keyword.arg for keyword in call.keywords}, f"{path}:{call.lineno}: {code}"  # type: ignore[str-bytes-safe]
