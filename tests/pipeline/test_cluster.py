"""Runs on a real Dask cluster: processes of this machine that are killed, that differ, that go away."""

import contextlib
import errno
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

from mnbatch.errors import ClusterError  # noqa: E402
from mnbatch.pipeline import cluster as coordinator  # noqa: E402
from mnbatch.pipeline.cluster_opening import local_cluster, open_cluster, read_jobs  # noqa: E402
from mnbatch.results.lock import hold_out  # noqa: E402
from mnbatch.results.paths import OutPaths  # noqa: E402
from mnbatch.results.store import Store  # noqa: E402
from tests.in_process import mnbatch  # noqa: E402
from tests.pipeline.conftest import results_without_times, write_random_model, write_slide  # noqa: E402

MASKED = re.compile(rb"cpu \(\d+ threads\)|\"generation\": \"g\d+\"")
LIMIT_SECONDS = 600


def contents(out: Path) -> dict[str, bytes]:
    """Bytes of tables and generations. How many threads a machine has is no result, nor which attempt was committed."""
    found: dict[str, bytes] = {}
    for name, data in results_without_times(out).items():
        name = re.sub(r"/g\d+/", "/g/", name)
        assert name not in found, f"{name} is there twice"
        found[name] = MASKED.sub(b"", data)
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An export of eight slides, a model, and what a plain run makes of them."""
    root = tmp_path_factory.mktemp("cluster")
    for number in range(8):
        write_slide(root / f"export/D{number // 2}/S{number}", number, cells=4)
    write_random_model(root / "model", 1, ("fluorescence", "giemsa"))
    arguments = [root / "export", "--layout", "donor-slide-folders", "--model", root / "model"]
    arguments += ["--device", "cpu", "--min-cells", 1]
    done = mnbatch("run", *arguments, "--out", root / "plain")
    assert done.returncode == 0, done.stderr
    return root, arguments


@pytest.fixture(scope="module")
def cluster():
    """Two workers, as a laboratory's own cluster would be reached: by the address of its scheduler."""
    with local_cluster(2) as made:
        yield made


@pytest.fixture
def small_shards(monkeypatch):
    """Two slides of four cells a shard."""
    monkeypatch.setattr("mnbatch.pipeline.sharding.SMALLEST", 8)


def run_on(address, place, out, *options):
    return mnbatch("run", *place[1], "--out", out, "--cluster", address, *options)


def test_a_run_on_a_cluster_gives_the_bytes_of_a_plain_run(place, cluster, tmp_path, small_shards):
    done = run_on(cluster.scheduler_address, place, tmp_path / "out")
    assert (done.returncode, "8 scored" in done.stdout) == (0, True), done.stderr
    assert contents(tmp_path / "out") == contents(place[0] / "plain")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert (manifest["device"], len(manifest["workers"])) == ("cluster of cpu", 2)
    again = run_on("tcp://127.0.0.1:1", place, tmp_path / "out")
    assert "nothing to do, 8 slides" in again.stdout  # and nobody asked for a worker


@pytest.mark.parametrize("moment", [r"/slides/.*/\.staging-[^/]*$", r"/slides/.*/g1$", r"/slides/.*/record\.json$"])
def test_a_killed_worker_costs_nothing_but_time(place, cluster, tmp_path, small_shards, moment):
    """Killed when it stages its first slide, when it renames that, when it commits it."""
    with distributed.Client(cluster, set_as_default=False) as client:
        client.register_plugin(patched(killed_when(moment, tmp_path / "killed")), name="kill")
        done = run_on(cluster.scheduler_address, place, tmp_path / "out")
        client.unregister_worker_plugin("kill")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "killed").exists()
    assert "was lost" in done.stderr
    assert contents(tmp_path / "out") == contents(place[0] / "plain")


def killed_when(moment, mark):
    """The first worker that is about to make a path like that is killed, once in a run."""

    def watch():
        import re
        import signal
        import sys

        def seen(event, arguments):
            made = {"os.mkdir": 0, "os.rename": 1}.get(event)
            if made is None or not re.search(moment, str(arguments[made])):
                return
            try:
                os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(seen)

    return watch


def patched(function):
    """A plugin that changes what a worker does, also one that is started later."""

    class Patch(distributed.WorkerPlugin):  # type: ignore[name-defined, misc]
        def setup(self, worker):
            function()

    return Patch()


def kill_at_one_slide():
    import signal

    from mnbatch.pipeline import cluster_worker

    def score(order, stop, original=cluster_worker._score):
        if any(slide.name == "S3" for slide, _ in order.slides):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(order, stop)

    cluster_worker._score = score


def other_torch():
    from mnbatch.pipeline import cluster_worker

    cluster_worker.versions = lambda: {"torch": "0.1"}  # type: ignore[assignment]


def no_share():
    from mnbatch.pipeline import cluster_worker

    cluster_worker.read_holder = lambda path: None


def empty_mount_point(there=0):
    """The export's folder is there, and of the files that are asked for only so many."""
    from mnbatch.pipeline import cluster_worker

    def describe(question, original=cluster_worker.describe_worker):
        files = question["files"]
        return original({**question, "files": [*files[:there], *(f"{path}.none" for path in files[there:])]})

    cluster_worker.describe_worker = describe


def another_export(*names):
    """What lies under the path of the export is a mirror of another day: these files have other sizes."""
    from dataclasses import replace

    from mnbatch.pipeline import same_files

    def seen(path, original=same_files.state_of):
        state = original(path)
        return replace(state, size=state.size + 7) if any(name in path for name in names) else state

    same_files.state_of = seen


def changed_meanwhile(file):
    """A file grows when the first shard comes to a worker."""
    from mnbatch.pipeline import cluster_worker

    def score(order, stop, original=cluster_worker._score):
        with open(file, "ab") as stream:
            stream.write(bytes(3 if stream.tell() < 100_000 else 0))
        return original(order, stop)

    cluster_worker._score = score


def copy_of_out(copy):
    """What the worker has under the path of OUT is a copy, with the lock and its token: an overlay of a container."""
    import shutil

    from mnbatch.pipeline import cluster_worker

    def describe(question, original=cluster_worker.describe_worker):
        shutil.copytree(question["out"], copy, dirs_exist_ok=True)
        return original({**question, "out": copy})

    cluster_worker.describe_worker = describe


def read_only():
    """Its mark is to go where it cannot be written; root could write to a folder that is read-only."""
    from mnbatch.pipeline import cluster_worker

    def describe(question, original=cluster_worker.describe_worker):
        return original({**question, "mark": "none/mark"})

    cluster_worker.describe_worker = describe


def finish_without_results():
    """All slides of each shard are finished; but what was committed lies elsewhere."""
    from mnbatch.pipeline import cluster_worker

    def score(order, stop):
        return [cluster_worker.Finished(slide.slide_id, "", "") for slide, _ in order.slides]

    cluster_worker._score = score


def full_disk():
    from mnbatch.errors import StorageError
    from mnbatch.pipeline import cluster_worker

    def score(order, stop):
        raise StorageError(f"The disk that holds {order.out}/slides/x is full.", "Free some space.")

    cluster_worker._score = score


def lose_one_device_with_wrong_clocks(marker):
    """Clocks are 10 minutes off; the first worker that is given slides loses its GPU, for good."""
    from datetime import UTC, datetime, timedelta

    from mnbatch.pipeline import cluster_worker
    from mnbatch.results import manifest

    off = 600 if os.getpid() % 2 else -600
    # Not `time.time`: where it jumps, dask's own timers wait for these 10 minutes.

    class Clock(datetime):
        @classmethod
        def now(cls, tz=UTC):
            return datetime.now(tz) + timedelta(seconds=off)

    manifest.datetime = Clock  # type: ignore[misc]

    def score(order, stop, original=cluster_worker._score):
        mine = f"{marker}-{os.getpid()}"
        open(mine, "w").close()
        with contextlib.suppress(FileExistsError):
            os.link(mine, marker)
        if os.path.samefile(mine, marker):
            raise RuntimeError("CUDA error: unspecified launch failure")
        return original(order, stop)

    cluster_worker._score = score


@pytest.fixture
def own_cluster():
    """A cluster of one worker that does as the plugin says."""
    made = contextlib.ExitStack()

    def start(function=None, workers=1):
        cluster = made.enter_context(local_cluster(workers))
        if function is not None:
            with distributed.Client(cluster, set_as_default=False) as client:
                client.register_plugin(patched(function))
        return cluster

    with made:
        yield start


def test_a_slide_that_kills_workers_fails_after_three_and_the_others_do_not(place, own_cluster, tmp_path, small_shards):
    out = tmp_path / "out"
    done = run_on(own_cluster(kill_at_one_slide).scheduler_address, place, out)
    assert done.returncode == 3, done.stderr
    records = {record.name: record for record in Store(out).records()}
    assert [name for name, record in records.items() if record.status == "failed"] == ["S3"]
    assert (records["S3"].transient, "3 workers" in records["S3"].reason) == (True, True)
    assert mnbatch("run", *place[1], "--out", out).returncode == 0
    assert contents(out) == contents(place[0] / "plain")


def test_a_worker_that_sees_other_files_of_one_slide_is_given_no_more(place, own_cluster, tmp_path, small_shards):
    """Its scores would stay for good: the run keeps them under the sizes and times that it found itself."""
    out = tmp_path / "out"
    worker = own_cluster(functools.partial(another_export, "S5/cell_002"))
    done = run_on(worker.scheduler_address, place, out, "--cluster-timeout", 1)
    assert done.returncode == 10, done.stderr
    said = " ".join(done.stderr.split())
    assert re.search(
        r"takes no part: it sees other files under \S+/export: D2/S5/cell_002\.png has \d+ bytes of ", said
    )
    assert "S5" not in {record.name for record in Store(out).records() if record.status == "scored"}
    assert mnbatch("run", *place[1], "--out", out).returncode == 0
    assert contents(out) == contents(place[0] / "plain")


def test_files_that_change_during_a_run_leave_their_slide_to_the_next(place, own_cluster, tmp_path, small_shards):
    """The worker is not at fault where the run itself sees them changed."""
    export, out = tmp_path / "export", tmp_path / "out"
    shutil.copytree(place[0] / "export", export)
    arguments = [export, *place[1][1:]]
    address = own_cluster(functools.partial(changed_meanwhile, str(export / "D3/S6/cell_001.png"))).scheduler_address
    done = mnbatch("run", *arguments, "--out", out, "--cluster", address)
    assert done.returncode == 3, done.stderr
    assert "takes no part" not in done.stderr
    failed = [record for record in Store(out).records() if record.status == "failed"]
    assert [(record.name, record.transient) for record in failed] == [("S6", True)]
    assert "changed after this run had found them: D3/S6/cell_001.png has" in failed[0].reason
    assert mnbatch("run", *arguments, "--out", out).returncode == 0


def test_a_worker_that_writes_to_a_copy_of_out_takes_no_part(place, own_cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(coordinator, "MARK_SECONDS", 0.0)
    out, copy = tmp_path / "out", tmp_path / "copy"
    address = own_cluster(functools.partial(copy_of_out, str(copy))).scheduler_address
    done = run_on(address, place, out, "--cluster-timeout", 1)
    assert (done.returncode, f"its {out} is not the folder of this run" in done.stderr) == (10, True), done.stderr
    assert re.search(r"worker tcp://\S+ \(\S+\) takes no part", done.stderr)
    assert (copy / "lock.json").exists()
    assert len(list((copy / "runs").glob(".worker-*"))) == 1
    assert list((out / "runs").glob(".worker-*")) == []
    assert list(Store(out).records()) == list(Store(copy).records()) == []


def test_a_mark_that_is_seen_late_is_waited_for_and_removed(place, own_cluster, tmp_path, monkeypatch):
    looked = []

    def late(path, original=coordinator._is_seen):
        looked.append(original(path))
        return len(looked) > 2

    monkeypatch.setattr(coordinator, "_is_seen", late)
    monkeypatch.setattr(coordinator, "MARK_SECONDS", float(LIMIT_SECONDS))
    done = run_on(own_cluster().scheduler_address, place, tmp_path / "out")
    assert (done.returncode, looked) == (0, [True, True, True]), done.stderr
    assert list((tmp_path / "out/runs").glob(".worker-*")) == []


def test_slides_that_are_finished_where_nobody_sees_it_fail_after_three_tries(
    place, own_cluster, tmp_path, small_shards, monkeypatch
):
    monkeypatch.setattr(coordinator, "RECORD_SECONDS", 0.0)
    out = tmp_path / "out"
    done = run_on(own_cluster(finish_without_results).scheduler_address, place, out)
    assert done.returncode == 3, done.stderr
    assert {(record.status, record.transient) for record in Store(out).records()} == {("failed", True)}
    assert {"not whole on the disk" in record.reason for record in Store(out).records()} == {True}
    # Four shards of two slides, then each of the eight slides two times.
    said = [done.stderr.count(text) for text in ("This goes out again", "After 3 tries this is left to the next run")]
    assert said == [4 + 8, 8]
    (log,) = (out / "runs").glob("2*.jsonl")
    assert log.read_text().count('"event": "unseen"') == 4 + 8 + 8
    assert f"{out.resolve()}/slides shows nothing new of 2 slides" in done.stderr
    assert mnbatch("run", *place[1], "--out", out).returncode == 0
    assert contents(out) == contents(place[0] / "plain")


def test_a_record_that_is_seen_late_is_waited_for(place, cluster, tmp_path, small_shards, monkeypatch):
    """As an NFS client shows it, which believes for a while that a file is not there."""
    looks: dict[str, int] = {}

    def late(self, plan, original=coordinator._Coordinator._new_record):
        record = original(self, plan)
        looks[plan.slide.name] = looks.get(plan.slide.name, 0) + (record is not None)
        return record if looks[plan.slide.name] > 2 else None

    monkeypatch.setattr(coordinator._Coordinator, "_new_record", late)
    monkeypatch.setattr(coordinator, "RECORD_SECONDS", float(LIMIT_SECONDS))
    done = run_on(cluster.scheduler_address, place, tmp_path / "out")
    assert (done.returncode, "8 scored" in done.stdout, "out again" in done.stderr) == (0, True, False), done.stderr
    assert set(looks.values()) == {3}
    assert contents(tmp_path / "out") == contents(place[0] / "plain")


@pytest.mark.parametrize(
    ("function", "code", "said"),
    [
        (read_only, 10, "it cannot write into"),
        (other_torch, 5, "torch 0.1, not"),
        (no_share, 10, "Mount the share"),
        (functools.partial(another_export, "cell_000"), 10, "it sees another export under"),
        (empty_mount_point, 10, "/export. Mount the share"),
        (functools.partial(empty_mount_point, there=3), 10, "/export. Mount the share"),
    ],
)
def test_workers_that_differ_take_no_part(place, own_cluster, tmp_path, function, code, said):
    done = run_on(own_cluster(function).scheduler_address, place, tmp_path / "out", "--cluster-timeout", 1)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert list(Store(tmp_path / "out").records()) == []


def test_a_full_disk_ends_the_run_at_once_and_is_named(place, own_cluster, tmp_path, monkeypatch):
    def full(dir):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    cluster, out = own_cluster(full_disk), tmp_path / "out"
    monkeypatch.setattr(coordinator.tempfile, "TemporaryFile", full)
    monkeypatch.setattr(coordinator, "ANSWER_SECONDS", 10**6)
    done = run_on(cluster.scheduler_address, place, out, "--cluster-timeout", 3600)
    assert (done.returncode, f"The disk that holds {out} is full" in done.stderr) == (10, True), done.stderr


def test_a_worker_whose_gpu_is_lost_and_clocks_that_are_off_cost_nothing(place, own_cluster, tmp_path, small_shards):
    broken = functools.partial(lose_one_device_with_wrong_clocks, str(tmp_path / "lost"))
    address = own_cluster(broken, workers=2).scheduler_address
    done = run_on(address, place, tmp_path / "out", "--cluster-timeout", 3600)
    assert (done.returncode, "8 scored" in done.stdout) == (0, True), done.stderr
    assert done.stderr.count("takes no part: its device was lost (CUDA error") == 1
    assert contents(tmp_path / "out") == contents(place[0] / "plain")


def test_a_cluster_without_workers_ends_the_run(place, tmp_path):
    with distributed.LocalCluster(n_workers=0, dashboard_address=None) as empty:
        done = run_on(empty.scheduler_address, place, tmp_path / "out", "--cluster-timeout", 1)
    assert (done.returncode, "No worker of the cluster" in done.stderr) == (10, True), done.stderr
    assert json.loads((tmp_path / "out/manifest.json").read_text())["exit_code"] == 10


def test_a_scheduler_that_vanishes_ends_the_run_and_finished_slides_stay(place, tmp_path, small_shards, monkeypatch):
    monkeypatch.setattr(coordinator, "LOST_SECONDS", 1.0)
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    scheduler = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", tmp_path / "at.json"],
        stderr=subprocess.DEVNULL,
    )
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", tmp_path / "at.json"]
    helper = subprocess.Popen([*worker, "--nthreads", "1", "--no-dashboard"], stderr=subprocess.DEVNULL)
    try:
        address = address_when_written(scheduler, tmp_path / "at.json")
        out, stop = tmp_path / "out", threading.Event()
        killer = threading.Thread(target=kill_when_committed, args=(scheduler, out, stop))
        killer.start()
        with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
            done = run_on(address, place, out)
        stop.set()
        killer.join()
    finally:
        scheduler.kill()
        helper.kill()
        scheduler.wait(LIMIT_SECONDS)
        helper.wait(LIMIT_SECONDS)
    assert (done.returncode, "does not answer any more" in done.stderr) == (10, True), done.stderr
    kept = len(list(Store(out).records()))
    assert kept >= 1
    assert f"{8 - kept} scored" in mnbatch("run", *place[1], "--out", out).stdout
    assert contents(out) == contents(place[0] / "plain")


class GivenUp:
    """A client that closed itself because its scheduler was gone for too long."""

    status = "closed"

    def submit(self, *arguments, **options):
        raise distributed.client.ClosedClientError("Client is closed. Can't send update-graph message.")


class Broken(GivenUp):
    status = "running"


def test_a_client_that_gave_its_scheduler_up_between_two_looks_is_no_internal_error():
    lost = coordinator._Coordinator(GivenUp(), [], None, None, None)
    with pytest.raises(ClusterError, match="does not answer any more"):
        lost._submit(print, 1, "tcp://127.0.0.1:1")
    other = coordinator._Coordinator(Broken(), [], None, None, None)
    with pytest.raises(distributed.client.ClosedClientError):
        other._submit(print, 1, "tcp://127.0.0.1:1")


def address_when_written(scheduler, path):
    """The address that a scheduler writes into its file; the file is there before its text is."""
    while scheduler.poll() is None:
        try:
            return json.loads(path.read_text())["address"]
        except (FileNotFoundError, json.JSONDecodeError):
            continue
    raise AssertionError(f"the scheduler ended with {scheduler.returncode}")


def kill_when_committed(process, out, stop):
    while not stop.is_set():
        if list(out.glob("slides/*/record.json")):
            process.kill()
            return


def test_two_coordinators_and_pseudonyms_are_refused(place, tmp_path):
    (tmp_path / "out").mkdir()
    with hold_out(OutPaths(tmp_path / "out")):
        assert run_on("local:1", place, tmp_path / "out").returncode == 11
    done = run_on("local:1", place, tmp_path / "coded", "--pseudonymise")
    assert (done.returncode, "--pseudonymise" in done.stderr) == (2, True)
    assert not (tmp_path / "coded").exists()


def test_status_says_how_many_workers_there_are(tmp_path):
    (tmp_path / "batch.json").write_text("{}")
    (tmp_path / "manifest.json").write_text(json.dumps({"status": "running", "workers": [{}, {}]}))
    with hold_out(OutPaths(tmp_path)):
        assert "workers of the cluster: 2\n" in mnbatch("status", tmp_path).stdout
    assert "workers of the cluster" not in mnbatch("status", tmp_path).stdout


def test_an_address_nobody_answers_at_and_one_that_is_none(place, tmp_path, monkeypatch):
    monkeypatch.setattr("mnbatch.pipeline.cluster_opening.CONNECT_SECONDS", 1.0)
    assert run_on("tcp://127.0.0.1:1", place, tmp_path / "out").returncode == 10
    assert run_on("host:8786", place, tmp_path / "out").returncode == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[slurm]\ncores = 4\nmemory = '8GB'", "jobs is None"),
        ("[slurm]\njobs = 2\ncores = 4", "does not state cores and memory"),
        ("[slurm]\njobs = 2\ncores = '4'\nmemory = '8GB'", "cores cannot be"),
        ("[slurm]\njobs = 2\ncores = 0\nmemory = '8GB'", "cores cannot be 0: it is a whole number from 1"),
        ("[slurm]\njobs = 2\ncores = -2\nmemory = '8GB'", "cores cannot be -2"),
        ("[slurm]\njobs = 2\ncores = true\nmemory = '8GB'", "cores cannot be True"),
        ("[slurm]\njobs = 2\ncores = 1\nprocesses = 0\nmemory = '8GB'", "processes cannot be 0"),
        ("[slurm]\njobs = 2\ncores = 1\nprocesses = 3\nmemory = '8GB'", "processes cannot be 3: cores is 1"),
        ("[slurm]\njobs = 2\ncores = 1\nmemory = 'abc'", "memory cannot be 'abc': give a number and its unit"),
        ("[slurm]\njobs = 2\ncores = 1\nmemory = '1e400GB'", "memory cannot be '1e400GB': give a number"),
        ("[slurm]\njobs = 2\ncores = 1\nmemory = '24'", "memory cannot be '24': that is less"),
        ("[slurm]\njobs = 2\ncores = 1\nmemory = '-8GB'", "memory cannot be '-8GB'"),
        ("[slurm]\njobs = 2\ncores = 1\nmemory = '8GB'\nwalltime = 'xx'", "walltime cannot be 'xx': Slurm takes"),
        ("[slurm]\njobs = 2\ncores = 1\nmemory = '8GB'\nwalltime = '1:2:3:4'", "walltime cannot be"),
        ("[slurm]\njobs = 2\ncores = 1\nmemory = '8GB'\ninterface = 'nope0'", "interface cannot be 'nope0'"),
        ("[slurm]\njobs = 2\ncores = 1\nmemory = '8GB'\njob_extra_directives = [1, 2]", "it is a list of texts"),
        ("[slurm]\njobs = 2\ncores = 4\nmemory = '8GB'\nshebang = '/bin/rm'", "shebang cannot be"),
        ("[pbs]\njobs = 2", "does not describe jobs"),
        ("x", "does not describe jobs"),
    ],
)
def test_files_of_jobs_that_cannot_be_used(tmp_path, text, said):
    from mnbatch.errors import UsageError

    path = tmp_path / "slurm.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_jobs(path)


@pytest.mark.parametrize(
    "walltime", ["30", "90:00", "08:00:00", "2-0", "2-12:30", "2-12:30:15", "UNLIMITED", "infinite"]
)
def test_walltimes_that_slurm_takes(tmp_path, walltime):
    path = tmp_path / "slurm.toml"
    path.write_text(f"[slurm]\njobs = 1\ncores = 2\nprocesses = 2\nmemory = '1.5 GiB'\nwalltime = '{walltime}'")
    assert read_jobs(path)[0]["walltime"] == walltime


@pytest.mark.parametrize("only", [(), ("--plan-only",), ("--plan-only", "--json")])
def test_what_names_no_cluster_is_refused_by_a_run_and_a_plan_alike(place, tmp_path, only):
    """Before OUT is touched."""
    jobs = tmp_path / "slurm.toml"
    jobs.write_text("[slurm]\njobs = 2\ncores = 1\nmemory = 'abc'")
    for said in ("local:0", "local:abc", "host:8786", tmp_path / "none.toml", jobs):
        done = run_on(said, place, tmp_path / "out", *only)
        assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (2, "", False), done.stderr
        assert not (tmp_path / "out").exists()
    assert "memory cannot be 'abc'" in done.stderr
    done = run_on("local:1", place, tmp_path / "out", "--pseudonymise", *only)
    assert (done.returncode, "--cluster cannot be used with --pseudonymise" in done.stderr) == (2, True)


def test_a_plan_for_a_cluster_asks_no_cluster(place, tmp_path):
    done = run_on("tcp://127.0.0.1:1", place, tmp_path / "out", "--plan-only")
    assert (done.returncode, done.stdout.count("score: ")) == (0, 8), done.stderr


def test_jobs_are_one_worker_each(tmp_path):
    path = tmp_path / "slurm.toml"
    path.write_text("[slurm]\njobs = 3\ncores = 8\nmemory = '24GB'\nqueue = 'gpu'")
    assert read_jobs(path) == ({"processes": 1, "cores": 8, "memory": "24GB", "queue": "gpu"}, 3)


def test_without_a_cluster_dask_is_not_imported():
    code = (
        "import sys, mnbatch.cli.run, mnbatch.pipeline.run, mnbatch.pipeline.scoring\n"
        "assert not {'dask', 'distributed'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_two_runs_on_one_machine_ask_for_no_port_in_common_and_listen_there_alone() -> None:
    psutil = pytest.importorskip("psutil")

    def listening() -> set[tuple[str, int]]:
        """Where this process listens: other tests of it may have left something that does."""
        known = psutil.Process().net_connections("inet")
        return {(one.laddr.ip, one.laddr.port) for one in known if one.status == "LISTEN"}

    before = listening()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with open_cluster("local:1"), open_cluster("local:1"):
            found = listening() - before
    assert found
    assert {ip for ip, _ in found} == {"127.0.0.1"}
    assert 8787 not in {port for _, port in found}
    assert not [one for one in said if "8787" in str(one.message)]


def test_workers_of_this_machine_are_forks_of_one_process_that_has_loaded_torch() -> None:
    if sys.platform != "linux":
        pytest.skip("processes are forked on Linux alone")
    with open_cluster("local:2") as client:
        parents = set(client.run(os.getppid).values())
        assert len(parents) == 1
        assert os.getpid() not in parents
        assert all(client.run(lambda: "torch" in sys.modules).values())


def test_dask_keeps_no_order_that_was_sent() -> None:
    with open_cluster("local:1") as client:
        assert client.submit(len, ("x",) * 1000).result() == 1000
        assert list(client.scheduler_comm.recent_message_log) == []


def test_a_wait_ends_with_the_first_result_and_with_what_was_cancelled(monkeypatch) -> None:
    def asleep(seconds):
        raise AssertionError("it sleeps instead")

    monkeypatch.setattr(coordinator, "LOOK_SECONDS", LIMIT_SECONDS)
    with open_cluster("local:1") as client:
        waiting = coordinator._Coordinator(client, [], None, None, None)
        event = distributed.Event("never", client=client)
        never = client.submit(_wait_for_it, event, pure=False)
        with monkeypatch.context() as awake:
            awake.setattr(coordinator.time, "sleep", asleep)
            first = client.submit(len, "abc", pure=False)
            waiting._pause([never, first])
            assert first.result() == 3
            first.cancel()
            waiting._pause([never, first])
        event.set()
        assert never.result() is None


def _wait_for_it(event):
    event.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_a_worker_keeps_the_memory_that_it_frees() -> None:
    """With what Dask sets, each minibatch has all its pages given to it anew."""
    code = """
import resource, sys
import numpy as np
from mnbatch.pipeline.cluster_worker import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for turn in range(51):
    if turn == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(1 << 17)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    environment = os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"}
    faults = {
        what: int(subprocess.check_output([sys.executable, "-c", code, what], env=environment, text=True))
        for what in ("keep", "not")
    }
    if faults["not"] < 50 * 200:
        pytest.skip(f"this C library does not heed the setting: {faults}")
    assert faults["keep"] < 50 * 20
