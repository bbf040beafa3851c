"""Runs over exports of links: what leads nowhere is listed, and scored when its share is mounted."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

from PIL import Image

from mnbatch.pipeline.run import run
from tests.pipeline.conftest import write_slide


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "slides.csv").open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def states(out: Path) -> dict[str, str]:
    return {f"{row['donor']}/{row['slide']}": row["status"] for row in rows(out)}


def share(tmp_path: Path) -> Path:
    """A share with a slide, a donor and single cells, to which links of the export lead; it is not mounted yet."""
    away = tmp_path / "away"
    write_slide(away / "S2", seed=1)
    write_slide(away / "D5/A", seed=2)
    write_slide(away / "S3", seed=3)
    write_slide(away / "one", seed=4, cells=1)
    mounted = tmp_path / "share"
    (tmp_path / "export/D1/S2").symlink_to(mounted / "S2")
    (tmp_path / "export/D5").symlink_to(mounted / "D5")
    (tmp_path / "export/D1/S3").mkdir()
    for path in sorted((away / "S3").iterdir()):
        (tmp_path / "export/D1/S3" / path.name).symlink_to(mounted / "S3" / path.name)
    (tmp_path / "export/D2/B/more.png").symlink_to(mounted / "one/cell_000.png")
    return mounted


def test_a_share_that_is_not_mounted_is_listed_and_scored_later(settings, export: Path, tmp_path: Path) -> None:
    mounted = share(tmp_path)
    out = tmp_path / "out"
    outcome = run(settings())
    assert outcome.exit_code == 3
    first = states(out)
    assert [first[name] for name in ("D1/S2", "D1/S3", "D5/D5")] == ["failed"] * 3
    reasons = {row["slide"]: row["reason"] for row in rows(out) if row["status"] == "failed"}
    assert "is a link that leads nowhere" in reasons["S2"]
    (cells,) = out.glob("slides/D2-B-*/**/cells.csv")
    assert "it is a link that leads nowhere" in cells.read_text(encoding="utf-8-sig")
    (partial,) = (row for row in rows(out) if row["donor"] == "D2" and row["slide"] == "B")
    assert partial["excluded_cells"] == "1"
    again = run(settings())
    assert again.exit_code == 3
    (tmp_path / "away").rename(mounted)
    assert run(settings()).exit_code == 0
    after = states(out)
    assert "D5/D5" not in after
    assert [after[name] for name in ("D1/S2", "D1/S3", "D5/A")] == [first["D1/A"]] * 3
    (whole,) = (row for row in rows(out) if row["donor"] == "D2" and row["slide"] == "B")
    assert whole["excluded_cells"] == "0"


def test_a_link_to_itself_ends_no_run(settings, export: Path, tmp_path: Path) -> None:
    (export / "D1/loop").symlink_to("loop")
    (export / "D2/A/bad.png").symlink_to("bad.png")
    outcome = run(settings(settle=0.01))
    assert outcome.exit_code == 3
    found = states(tmp_path / "out")
    assert found.pop("D1/loop") == "failed"
    assert len(found) == 4
    (row,) = (row for row in rows(tmp_path / "out") if row["donor"] == "D2" and row["slide"] == "A")
    assert row["excluded_cells"] == "1"


def test_a_slide_linked_to_two_donors_fails_under_both(settings, export: Path, tmp_path: Path) -> None:
    shutil.rmtree(export / "D2/A")
    (export / "D2/A").symlink_to("../D1/A")
    outcome = run(settings())
    assert outcome.exit_code == 3
    found = {f"{row['donor']}/{row['slide']}": row for row in rows(tmp_path / "out")}
    assert [found[path]["status"] for path in ("D1/A", "D2/A")] == ["failed", "failed"]
    assert "of donor D2" in found["D1/A"]["reason"]
    assert "of donor D1" in found["D2/A"]["reason"]


def test_files_of_several_pictures_are_unreadable_cells(settings, export: Path, tmp_path: Path) -> None:
    for kind, donor in (("MPO", "D1"), ("PNG", "D2")):
        folder = export / donor / "A"
        first, *others = (Image.open(path).convert("L") for path in sorted(folder.iterdir())[:3])
        first.save(folder / f"many.{'jpg' if kind == 'MPO' else 'png'}", kind, save_all=True, append_images=others)
    run(settings())
    unread = {row["donor"]: row["excluded_cells"] for row in rows(tmp_path / "out") if row["slide"] == "A"}
    assert unread == {"D1": "1", "D2": "1"}


def test_no_name_of_a_lost_link_is_said_under_pseudonyms(settings, export: Path, tmp_path: Path) -> None:
    (export / "D1/Meier").symlink_to("/not_mounted/Meier")
    (export / "D1/A/Meier.png").symlink_to("/not_mounted/Meier.png")
    run(settings(pseudonymise=True))
    out = tmp_path / "out"
    assert any("leads nowhere" in row["reason"] for row in rows(out))
    shared = [path for path in out.rglob("*") if path.is_file() and not {"private", "runs"} & set(path.parts)]
    assert not [path for path in shared if b"Meier" in path.read_bytes()]
