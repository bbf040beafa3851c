from __future__ import annotations

import os
import re

from hypothesis import given
from hypothesis import strategies as st

from mnbatch.imaging.identity import cell_id, slide_id, slug

# What a file system can spell: any text, and any bytes as Python hands them over (undecodable ones as surrogates).
paths = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=200),
    st.binary(min_size=1, max_size=200).map(lambda name: os.fsdecode(name.replace(b"\0", b"x"))),
)


@given(paths)
def test_slide_ids_are_safe_on_every_file_system(path: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,71}", slide_id(path))
    assert not slide_id(path).startswith((".", "-"))


@given(st.lists(st.text("abä中 /é-_", min_size=1, max_size=12), unique=True, max_size=30))
def test_different_paths_have_different_ids(names: list[str]) -> None:
    assert len({slide_id(name) for name in names}) == len(names)


def test_slide_id_is_readable_and_never_changes() -> None:
    # A changed id would orphan every result that laboratories have stored.
    assert slide_id("Donor 7/Slide A") == "Donor-7-Slide-A-b2e142"


def test_slug_keeps_scripts_without_ascii_letters_apart() -> None:
    assert slug("患者1") == "u60a3u80051"
    assert slug("Müller") == "Muller"
    assert slug("../..") == "slide"


def test_undecodable_bytes_of_a_name_have_an_id() -> None:
    assert slide_id("slide\udcff") != slide_id("slide\udcfe")


def test_long_paths_keep_their_end() -> None:
    assert slug("a" * 200 + "/slide7").endswith("slide7")


def test_cell_id_names_page_only_in_multi_page_files() -> None:
    assert cell_id("s-1", "a/b.tif", None) == "s-1:a/b.tif"
    assert cell_id("s-1", "a/b.tif", 0) == "s-1:a/b.tif#0"
