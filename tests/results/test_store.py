import hashlib
import json
import os

import numpy as np
import pytest

from mnbatch.assay.copies import Copied, Original
from mnbatch.errors import LockHeldError, StorageError
from mnbatch.processes import started, this_process
from mnbatch.results.commit import write_record
from mnbatch.results.lock import hold_lock, join_run
from mnbatch.results.paths import STAGING_PREFIX
from mnbatch.results.store import Store


def commit(store, record, items, keep_crops=True):
    with store.writer(record.slide_id, keep_crops=keep_crops) as writer:
        for item in items:
            writer.add(item)
        return writer.commit(record)


def tree(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_what_was_committed_is_read_back(store, make_record, make_score, make_unreadable):
    items = [make_score(0, 0.25), make_unreadable(1), make_score(2, 0.99999987)]
    record = commit(store, make_record(), items)
    assert store.records() == [record]
    assert (record.cells, record.unreadable, record.generation) == (3, 1, "g1")
    first, second, third = store.scores(record)
    assert (first.p_mn, second.p_mn, third.p_mn) == (0.25, None, 0.9999999)
    assert second.reason == "truncated"
    assert first.quality == items[0].crop.quality
    assert store.digests(record).tolist()[1] == [0] * 16
    assert store.digests(record)[2].tobytes().hex() == items[2].crop.digest


def test_crops_and_maps_come_back_for_their_own_cells(store, make_record, make_score, make_unreadable):
    items = [make_score(0), make_unreadable(1), make_score(2)]
    gallery = store.crops(commit(store, make_record(), items))
    assert gallery.jpeg(1) is None
    assert gallery.cell_maps(1) is None
    for row in (0, 2):
        assert gallery.jpeg(row).startswith(b"\xff\xd8")
        expected = items[row].maps
        assert np.abs(gallery.cell_maps(row)[:2] - expected[:2]).max() <= 0.5 / 255 + 1e-6
        assert np.abs(gallery.cell_maps(row)[2] - expected[2]).max() <= np.abs(expected[2]).max() * 0.5 / 127 + 1e-6
    assert gallery.jpeg(0) != gallery.jpeg(2)


def test_a_slide_without_gallery_keeps_scores_alone(store, make_record, make_score):
    record = commit(store, make_record(), [make_score(0)], keep_crops=False)
    assert store.crops(record) is None
    assert len(store.scores(record)) == 1


def test_a_new_generation_replaces_the_old_and_leaves_nothing_behind(store, make_record, make_score):
    commit(store, make_record(), [make_score(0)])
    record = commit(store, make_record(), [make_score(0), make_score(1)])
    folder = store.paths.slide(record.slide_id).root
    assert record.generation == "g2"
    assert sorted(os.listdir(folder)) == ["g2", "record.json"]


def test_the_same_scores_give_the_same_bytes(tmp_path, make_record, make_score):
    from mnbatch.results.store import Store

    trees = []
    for name in ("one", "two"):
        store = Store(tmp_path / name)
        commit(store, make_record(), [make_score(0), make_score(1)])
        trees.append(tree(store.paths.root))
    assert trees[0] == trees[1]


def test_an_abandoned_slide_keeps_its_old_truth(store, make_record, make_score):
    record = commit(store, make_record(), [make_score(0)])
    with store.writer(record.slide_id, keep_crops=True) as writer:
        writer.add(make_score(5))
    assert store.records() == [record]
    assert not [n for n in os.listdir(store.paths.slide(record.slide_id).root) if n.startswith(STAGING_PREFIX)]


@pytest.mark.parametrize("instant", ["staged", "renamed"])
def test_a_kill_before_the_record_is_switched_leaves_the_old_truth(
    store, make_record, make_score, monkeypatch, instant
):
    old = commit(store, make_record(), [make_score(0)])
    before = tree(store.paths.root)

    class Killed(BaseException):
        pass

    def kill(*args, **kwargs):
        raise Killed

    target = "mnbatch.results.writer.write_record" if instant == "renamed" else "mnbatch.results.writer.sync_folder"
    writer = store.writer(old.slide_id, keep_crops=True)
    writer.add(make_score(7))
    with monkeypatch.context() as patch:
        patch.setattr(target, kill)
        with pytest.raises(Killed):
            writer.commit(make_record())
    assert store.records() == [old]
    store.sweep()
    assert tree(store.paths.root) == before
    assert commit(store, make_record(), [make_score(7)]).generation == "g2"


def test_copies_name_the_original_and_spare_slides_that_fail(store, make_record, make_score, make_unreadable):
    digest = "ab" * 16
    first = make_record("a-000001", path="a")
    second = make_record("b-000002", path="b")
    broken = make_record("0-000003", path="0")
    from mnbatch.results.records import CallStamp

    stamp = CallStamp(key="k", threshold=0.5, max_bad_fraction=0.1, quality_rules=1)
    commit(
        store,
        broken.model_copy(update={"call": stamp}),
        [make_score(0, digest=digest), *map(make_unreadable, range(5))],
    )
    commit(
        store,
        first.model_copy(update={"call": stamp}),
        [make_score(1), make_score(2, slide_id="a-000001", digest=digest)],
    )
    commit(store, second.model_copy(update={"call": stamp}), [make_score(3, digest=digest)])
    assert store.copies(store.records()) == {
        "a-000001": {1: Original("b-000002")},
        "b-000002": {0: Copied("a-000001:2.tif")},
    }


def test_a_torn_record_is_named(store, make_record, make_score):
    record = commit(store, make_record(), [make_score(0)])
    path = store.paths.slide(record.slide_id).record
    path.write_bytes(path.read_bytes()[:40])
    (found,) = store.records()
    assert (found.slide_id, found.status) == (record.slide_id, "failed")
    assert "damaged" in found.reason


def test_names_that_are_no_text_are_shown_as_escapes(store, make_record, make_score):
    from dataclasses import replace

    score = make_score(0)
    crop = replace(score.crop, source="caf\udce9.tif", cell_id="s:caf\udce9.tif")
    record = commit(store, make_record(), [replace(score, crop=crop)])
    assert store.scores(record)[0].source == "caf\\udce9.tif"


@pytest.mark.parametrize("name", ["scores.csv", "digests.bin", "crops.bin", "maps.bin"])
@pytest.mark.parametrize("kind", ["torn", "gone"])
def test_a_damaged_generation_is_named_and_takes_no_cells_from_others(store, make_record, make_score, name, kind):
    record = commit(store, make_record(), [make_score(0), make_score(1)])
    path = store.paths.slide(record.slide_id).generation("g1").root / name
    path.unlink() if kind == "gone" else path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StorageError, match=name):
        store.scores(record)
    assert store.copies([record]) == {}


def flip(path, at=-2):
    """Another byte in the place of one, at the same length and time."""
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("name", ["scores.csv", "digests.bin"])
def test_a_byte_that_was_changed_is_noticed_wherever_a_number_comes_from(store, make_record, make_score, name):
    record = commit(store, make_record(), [make_score(0), make_score(1)])
    assert sorted(record.checksums) == sorted(record.sizes)
    assert store.damage(record) == store.damage(record, pictures=True) == ""
    flip(store.paths.slide(record.slide_id).generation("g1").root / name)
    assert f"{name} was altered" in store.damage(record)
    with pytest.raises(StorageError, match=name):
        store.scores(record)
    assert store.copies([record]) == {}


@pytest.mark.parametrize("name", ["crops.bin", "maps.bin"])
def test_altered_pictures_are_noticed_when_pictures_are_asked_for(store, make_record, make_score, name):
    record = commit(store, make_record(), [make_score(0), make_score(1)])
    flip(store.paths.slide(record.slide_id).generation("g1").root / name)
    assert store.damage(record) == ""
    assert f"{name} was altered" in store.damage(record, pictures=True)
    with pytest.raises(StorageError, match=name):
        store.crops(record)


def test_a_result_of_a_version_without_checksums_is_known_by_sizes(store, make_record, make_score):
    record = commit(store, make_record(), [make_score(0), make_score(1)])
    path = store.paths.slide(record.slide_id).record
    old = {name: value for name, value in json.loads(path.read_text()).items() if name not in ("checksum", "checksums")}
    path.write_text(json.dumps(old))
    (record,) = store.records()
    assert record.checksums == {}
    assert len(store.scores(record)) == 2
    scores = store.paths.slide(record.slide_id).generation("g1").scores
    scores.write_bytes(scores.read_bytes()[:-1])
    assert "bytes" in store.damage(record)


def test_a_record_that_was_edited_is_named(store, make_record, make_score):
    record = commit(store, make_record(), [make_score(0)])
    path = store.paths.slide(record.slide_id).record
    path.write_text(path.read_text().replace('"cells": 1', '"cells": 2'))
    found = store.record(record.slide_id)
    assert found.status == "failed"
    assert "altered" in found.reason


def test_the_checksums_are_those_of_the_files(store, make_record, make_score, make_unreadable):
    record = commit(store, make_record(), [make_score(0), make_unreadable(1)])
    root = store.paths.slide(record.slide_id).generation("g1").root
    expected = {p.name: hashlib.blake2b(p.read_bytes(), digest_size=16).hexdigest() for p in root.iterdir()}
    assert record.checksums == expected


def test_two_writers_of_one_process_id_do_not_meet(store):
    """As in two containers that share OUT."""
    names = {store.writer(f"s{i}", keep_crops=False)._staged.root.name for i in range(2)}
    assert len(names) == 2
    assert all(name.startswith(STAGING_PREFIX) for name in names)


def test_a_torn_result_is_seen_though_every_file_gives_its_checksum(store, make_record, make_score):
    """Rows of one writer under the record of another, as two processes with one staging folder left them."""
    record = commit(store, make_record(), [make_score(i) for i in range(10)])
    paths = store.paths.slide(record.slide_id)
    scores = paths.generation("g1").scores
    scores.write_bytes(b"".join(scores.read_bytes().splitlines(keepends=True)[:4]))
    checksums = {**record.checksums, scores.name: hashlib.blake2b(scores.read_bytes(), digest_size=16).hexdigest()}
    torn = record.model_copy(
        update={"checksums": checksums, "sizes": {**record.sizes, scores.name: scores.stat().st_size}}
    )
    write_record(paths, torn)
    assert "scores.csv has 3 rows, its record says 10 cells" in store.damage(torn)
    with pytest.raises(StorageError, match="3 rows"):
        store.scores(torn)
    other = torn.model_copy(update={"cells": 11})
    assert "has the size of 10 cells, its record says 11" in Store(store.paths.root).damage(other)


def test_writers_sweep_only_what_is_theirs(store, make_record):
    paths = store.paths.slide("s1")
    paths.root.mkdir(parents=True)
    me = this_process()
    others = {
        "living": f".staging-{me.machine}-{os.getppid()}-{started(os.getppid())}-0-00000000",
        "elsewhere": f".staging-00000000-{me.pid}-{me.started}-0-00000000",
        "earlier version": ".staging-host-1-00000000",
    }
    dead = f".staging-{me.machine}-{me.pid}-1-0-00000000"
    for name in (*others.values(), dead):
        (paths.root / name).mkdir()
    with store.writer("s1", keep_crops=False):
        assert set(others.values()) < set(os.listdir(paths.root))
        assert dead not in os.listdir(paths.root)
    with hold_lock(store.paths.lock):
        store.sweep()
    assert os.listdir(paths.root) == []


def test_a_run_that_lost_out_while_it_committed_writes_nothing(store, make_record, make_score, monkeypatch):
    """A process that sleeps between the last bytes and the rename wakes up in an OUT that is another run's."""
    record = commit(store, make_record(), [make_score(0)])
    before = store.paths.slide(record.slide_id).record.read_bytes()
    with hold_lock(store.paths.lock):

        def sleep(*_):
            content = json.loads(store.paths.lock.read_text())
            store.paths.lock.write_text(json.dumps({**content, "token": "another", "pid": 1}))

        monkeypatch.setattr("mnbatch.files._sync", sleep)
        with pytest.raises(LockHeldError, match="taken over"):
            store.put_record(record.model_copy(update={"cells": 2}))
    assert store.paths.slide(record.slide_id).record.read_bytes() == before
    assert [name for name in os.listdir(store.paths.slide(record.slide_id).root) if name.startswith(".tmp-")] == []


def test_a_process_may_write_with_the_token_of_the_run_and_with_no_other(store, make_record, make_score):
    store.paths.root.mkdir()
    with hold_lock(store.paths.lock) as holder:
        token = holder.token
    with pytest.raises(LockHeldError, match="No run with this token"), join_run(store.paths.lock, token):
        pass
    store.paths.lock.write_text(json.dumps({"host": "far", "pid": 7, "token": token}))
    with join_run(store.paths.lock, token):
        record = commit(store, make_record(), [make_score(0)])
        store.paths.lock.write_text(json.dumps({"host": "far", "pid": 8, "token": "next"}))
        with pytest.raises(LockHeldError):
            store.put_record(record)


def test_a_generation_in_the_way_is_no_hindrance(store, make_record, make_score):
    record = commit(store, make_record(), [make_score(0)])
    root = store.paths.slide(record.slide_id).root
    writer = store.writer(record.slide_id, keep_crops=False)
    writer.add(make_score(0))
    (root / "g2").mkdir()
    (root / "g2/late.txt").write_text("of a writer that woke up too late")
    again = writer.commit(make_record())
    assert again.generation == "g3"
    assert sorted(name for name in os.listdir(root) if name.startswith("g")) == ["g3"]


def test_sizes_a_cell_are_those_of_who_writes_them():
    from mnbatch.assay import copies, near_copies, row_sizes

    assert row_sizes.DIGEST_BYTES == copies.DIGEST_BYTES
    assert row_sizes.SPECTRUM_BYTES == near_copies.SPECTRUM_BYTES
    assert row_sizes.THUMBNAIL_BYTES == near_copies.THUMBNAIL_BYTES


def test_a_glance_sees_what_the_record_says_and_the_stand_in_of_a_damaged_one(store, make_record, make_score):
    from mnbatch.results.record_view import read_views

    record = commit(store, make_record(), [make_score(0)])
    (view,) = read_views(store.paths)
    for name in ("slide_id", "name", "path", "donor", "status", "generation", "sizes", "checksums", "cells"):
        assert getattr(view, name) == getattr(record, name)
    path = store.paths.slide(record.slide_id).record
    path.write_text(path.read_text().replace('"cells": 1', '"cells": 2'))
    (view,) = read_views(store.paths)
    assert (view.status, view.reason) == ("failed", store.record(record.slide_id).reason)
