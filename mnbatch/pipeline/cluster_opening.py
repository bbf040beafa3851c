"""The cluster that `--cluster` names: one that runs, processes of this machine, or jobs of a batch system."""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnbatch.errors import ClusterError, UsageError
from mnbatch.intake import read_text, reason, short
from mnbatch.pipeline.reading import default_workers
from mnbatch.settings import RunSettings

if TYPE_CHECKING:
    from distributed import Client

_ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss)://[^\s]+")
_LOCAL = re.compile(r"local:([1-9][0-9]{0,3})")
_WALLTIME = re.compile(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}|infinite|unlimited", re.ASCII | re.IGNORECASE)
"""Slurm's forms: minutes, M:S, H:M:S, days-H, days-H:M, days-H:M:S, and no limit."""

CONNECT_SECONDS = 30.0
MOST_JOBS = 10_000
_JOBS_DO = "Write [slurm] with jobs, cores and memory; docs/operations.md has an example."
_LONGEST_WORDS = 500
"""Letters of what a batch system says."""

LEAST_MEMORY = 1 << 20
"""Bytes; a number without a unit is one of bytes, and no job runs with so few."""

_START = "forkserver" if sys.platform == "linux" else "spawn"
"""How a worker of this machine is started. Loading torch and the rest takes ten seconds of a core: a process that does
nothing else loads them once, and each worker, also one in place of a dead one, is a fork of it."""

_NO_LOG = {"distributed.admin.low-level-log-length": 0}
"""Dask keeps the last thousand messages for its developers, and an order holds the names of all files of its slides."""

_QUIET = _NO_LOG | {
    "distributed.worker.multiprocessing-method": _START,
    # A look at the stack of each thread a hundred times a second, for a page that nobody sees.
    "distributed.worker.profile.enabled": False,
    # Each of the servers looks whether it still lives; every 20 ms that was 6 % of a core without any work.
    "distributed.admin.tick.interval": "500ms",
}
"""For the processes of this machine, which share its cores with the scoring."""

_LOADED = ("distributed.nanny", "mnbatch.pipeline.cluster_worker", "mnbatch.pipeline.scoring")
"""What that process loads; none of it starts a thread, which a fork would not have."""

# Options of dask_jobqueue.SLURMCluster that a file may have: whatever else can be said to Dask is said in its own
# configuration.
_JOB_OPTIONS = {
    "queue": str,
    "account": str,
    "cores": int,
    "processes": int,
    "memory": str,
    "walltime": str,
    "interface": str,
    "local_directory": str,
    "log_directory": str,
    "job_script_prologue": list,
    "job_extra_directives": list,
    "worker_extra_args": list,
    "python": str,
}


@dataclass(slots=True)
class Submissions:
    """What became of the jobs that a run asked its batch system for.

    Attributes:
        wanted, accepted: jobs.
        refused: of each job that was not accepted, why.
    """

    wanted: int
    accepted: int = 0
    refused: list[str] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether the batch system has answered for all of them."""
        return self.accepted + len(self.refused) >= self.wanted


def check_cluster_of(settings: RunSettings) -> None:
    """Refuse what a run could not use, before OUT is touched; a plan for it is refused alike.

    Raises:
        UsageError: --cluster names none, or cannot be used with --pseudonymise.
    """
    if settings.cluster is None:
        return
    if settings.pseudonymise:
        raise UsageError(
            "--cluster cannot be used with --pseudonymise: the key and the names of OUT stay with one process.",
            "Leave out one of them.",
        )
    check_cluster(settings.cluster)


def check_cluster(said: str) -> None:
    """Refuse what names no cluster, before OUT is touched.

    Raises:
        UsageError: it is neither an address, nor `local:N`, nor a file of jobs that can be used.
    """
    if _LOCAL.fullmatch(said) or _ADDRESS.fullmatch(said):
        return
    if said.endswith(".toml"):
        read_jobs(Path(said))
    else:
        raise UsageError(
            f"--cluster cannot be {short(said)!r}.",
            "Give the address of a Dask scheduler (tcp://host:8786), local:N, or a file such as slurm.toml.",
        )


@contextlib.contextmanager
def open_cluster(said: str) -> Iterator[Client]:
    """A client of the cluster; what was started for it ends with the block.

    Args:
        said: address of a scheduler, `local:N`, or a TOML file that describes jobs.

    Raises:
        UsageError: it is none of these, or the file cannot be used.
        ClusterError: no scheduler answers there.
    """
    check_cluster(said)
    with contextlib.ExitStack() as stack:
        local = _LOCAL.fullmatch(said)
        if local is not None:
            target: Any = stack.enter_context(local_cluster(int(local[1])))
        elif _ADDRESS.fullmatch(said):
            target = said
        else:
            target = stack.enter_context(_jobs(Path(said)))
        yield stack.enter_context(_client(target))


@contextlib.contextmanager
def _client(target: Any) -> Iterator[Client]:
    import dask
    from distributed import Client

    try:
        with dask.config.set(_NO_LOG):
            client = Client(target, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"No Dask scheduler answers at {target}: {reason(error) if isinstance(error, OSError) else 'timeout'}.",
            "Start it (`dask scheduler`), or correct --cluster.",
        ) from error
    with _closing(client, seconds=5):
        yield client


@contextlib.contextmanager
def local_cluster(workers: int) -> Iterator[Any]:
    """Processes of this machine that share its cores."""
    import logging

    import dask
    from distributed import LocalCluster

    # As long as there is the cluster: dead workers are started again.
    with dask.config.set(_QUIET):
        _load_once()
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=max(1, default_workers() // workers),
            processes=True,
            # Of this machine alone, and any free port: for none Dask takes 8787, and warns a second run of the first.
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        )
        with _closing(cluster):
            yield cluster


def _load_once() -> None:
    """Say what is loaded before the first worker is forked; where it cannot be, each worker loads it."""
    from distributed.utils import get_mp_context

    # Dask names modules of its own when it is first asked.
    context = get_mp_context()
    if _START == "forkserver":
        context.set_forkserver_preload(list(_LOADED))


@contextlib.contextmanager
def _jobs(path: Path) -> Iterator[Any]:
    """Jobs of Slurm, each a worker, that end with the run."""
    options, jobs = read_jobs(path)
    submissions = Submissions(jobs)
    make = _slurm_cluster(submissions)
    try:
        cluster = make(**options)
    except Exception as error:
        # A ValueError, RuntimeError or OSError, whose text says what it could not use.
        raise UsageError(f"{path} cannot be used: {reason(error)}.", _JOBS_DO) from error
    cluster.submissions = submissions
    with _closing(cluster):
        cluster.scale(jobs=jobs)
        yield cluster


def submissions_of(client: Client) -> Submissions | None:
    """What became of the jobs that were started for a client; None where none were."""
    found = getattr(getattr(client, "cluster", None), "submissions", None)
    return found if isinstance(found, Submissions) else None


def _slurm_cluster(submissions: Submissions) -> Callable[..., Any]:
    """A SLURMCluster that notes what becomes of each job. Dask itself prints a traceback, and tells nobody."""
    from dask_jobqueue.slurm import SLURMCluster, SLURMJob
    from distributed.core import Status

    class NotedJob(SLURMJob):
        async def start(self) -> None:
            try:
                await super().start()  # type: ignore[no-untyped-call]
                submissions.accepted += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, there is no job
                submissions.refused.append(_one_line(str(error)))
                # For Dask it runs: a job without a number, which nobody has to cancel.
                self.status = Status.running

        async def _submit_job(self, script_filename: str) -> str:
            return await _submit(shlex.split(self.submit_command), script_filename)

    class NotedCluster(SLURMCluster):
        job_cls = NotedJob

    return NotedCluster


async def _submit(command: list[str], script: str) -> str:
    """What the batch system says of a job that it accepted.

    Raises:
        ClusterError: its command cannot be run, refuses the job, or gives no number of it.
    """
    import asyncio

    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(*command, script, stdout=pipe, stderr=pipe)
    except OSError as error:
        raise ClusterError(f"{command[0]} cannot be run: {reason(error)}") from error
    said, wrong = (text.decode(errors="replace") for text in await process.communicate())
    if process.returncode:
        words = _one_line(wrong) or _one_line(said) or f"exit status {process.returncode}"
        raise ClusterError(f"{command[0]} refuses the job: {words}")
    if not re.search(r"\d", said):
        raise ClusterError(f"{command[0]} does not say the number of its job: {_one_line(said)}")
    return said


def _one_line(text: str) -> str:
    """The words of a command on one line, without the full stop."""
    return " ".join(text.split())[:_LONGEST_WORDS].rstrip(". ")


@contextlib.contextmanager
def _closing(opened: Any, seconds: int = 10) -> Iterator[Any]:
    """Close it at the end; it may be gone by then, and there is nobody to say goodbye to."""
    try:
        yield opened
    finally:
        with contextlib.suppress(Exception):
            opened.close(timeout=seconds)


def read_jobs(path: Path) -> tuple[dict[str, Any], int]:
    """Options of the jobs, and how many.

    Raises:
        UsageError: the file cannot be read, or holds what is no option, or a value that cannot be right.
    """
    try:
        table = tomllib.loads(read_text(path))
        options = dict(table["slurm"])
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {reason(error)}.", "Check --cluster.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path} does not describe jobs: {reason(error)}.", _JOBS_DO) from error
    jobs = options.pop("jobs", None)
    if not isinstance(jobs, int) or isinstance(jobs, bool) or not 1 <= jobs <= MOST_JOBS:
        raise UsageError(f"{path}: jobs is {short(repr(jobs))}.", _JOBS_DO)
    for name, value in options.items():
        if name not in _JOB_OPTIONS or not isinstance(value, _JOB_OPTIONS[name]):
            raise UsageError(f"{path}: {short(name)} cannot be {short(repr(value))}.", _JOBS_DO)
    if not {"cores", "memory"} <= options.keys() or len(table) != 1:
        raise UsageError(f"{path} does not state cores and memory of a job, or has more than [slurm].", _JOBS_DO)
    # One worker a job: it shares its cores itself.
    options = {"processes": 1} | options
    # In the order of the table: cores come before what they are compared with.
    for name in filter(options.__contains__, _JOB_OPTIONS):
        if wrong := _wrong_with(name, options[name], options):
            raise UsageError(f"{path}: {name} cannot be {short(repr(options[name]))}: {wrong}.", _JOBS_DO)
    return options, jobs


def _wrong_with(name: str, value: Any, options: Mapping[str, Any]) -> str:
    """Why an option of the right kind cannot have this value; "" where it can."""
    if isinstance(value, int) and (isinstance(value, bool) or value < 1):
        return "it is a whole number from 1"
    if name == "processes" and value > options["cores"]:
        return f"cores is {options['cores']}"
    if isinstance(value, list) and not all(isinstance(one, str) for one in value):
        return "it is a list of texts"
    if name == "walltime" and not _WALLTIME.fullmatch(value):
        return 'Slurm takes minutes, "H:MM:SS" or "days-HH:MM:SS"'
    if name == "memory":
        return _wrong_memory(value)
    return _wrong_interface(value) if name == "interface" else ""


def _wrong_memory(text: str) -> str:
    from dask.utils import parse_bytes

    try:
        enough = parse_bytes(text) >= LEAST_MEMORY
    except (ValueError, OverflowError):
        return 'give a number and its unit, such as "24GB"'
    return "" if enough else 'that is less than one megabyte; give the unit, such as "24GB"'


def _wrong_interface(name: str) -> str:
    """The scheduler, which is of this machine, listens there, too."""
    from distributed.utils import get_ip_interface

    try:
        get_ip_interface(name)
    except ValueError as error:
        return reason(error)
    return ""
