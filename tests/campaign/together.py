"""Two commands in one OUT, locks that lie, clocks that jump, folders that were copied."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from tests.campaign.faults import FaultPlan
from tests.campaign.forking import MOMENT, adopt_orphans, import_everything, run_forked, start_forked
from tests.campaign.stage import SCENARIOS, Scenario, Stage, contents, leftovers, play
from tests.campaign.verdicts import Verdict

HELD = 11
YEAR = 365.25 * 86400
SECOND = ("run", "report", "dose")
"""Commands that meet a run that was stopped; the last two start from a scored OUT."""

HOST = "another-host.example"
LOCKS: dict[str, tuple[object, float, tuple[int, ...]]] = {
    "another host, fresh": ({"host": HOST, "pid": 1, "start": 1.0}, 0.0, (HELD,)),
    "another host, of yesterday": ({"host": HOST, "pid": 1, "start": 1.0}, -86400.0, (0, 3)),
    "another host, dated 900 s ahead": ({"host": HOST, "pid": 1, "start": 1.0}, 900.0, (0, 3, HELD)),
    "another host, dated a year ahead": ({"host": HOST, "pid": 1, "start": 1.0}, YEAR, (0, 3, HELD)),
    "this host, a pid that lives": ({"host": socket.gethostname(), "pid": os.getpid(), "start": 1.0}, 0.0, (0, 3)),
    "this host, a pid that is dead": ({"host": socket.gethostname(), "pid": 2**22 - 1, "start": 1.0}, 0.0, (0, 3)),
    "this host, pid 1": ({"host": socket.gethostname(), "pid": 1, "start": 1.0}, 0.0, (0, 3)),
    "a huge pid": ({"host": socket.gethostname(), "pid": 10**30, "start": 1.0}, 0.0, (0, 3)),
    "a negative pid": ({"host": socket.gethostname(), "pid": -1, "start": 1.0}, 0.0, (0, 3)),
    "pid 0": ({"host": socket.gethostname(), "pid": 0, "start": 1.0}, 0.0, (0, 3)),
    "a start that is no time": ({"host": HOST, "pid": 1, "start": 1e300}, 0.0, (0, 3, HELD)),
    "a list": ([], 0.0, (0, 3)),
    "numbers as texts": ({"host": 3, "pid": "x", "start": "y"}, 0.0, (0, 3)),
    "released": ({"released": True}, 0.0, (0, 3)),
    "nothing": (None, 0.0, (0, 3)),
}
ZONES = ("UTC", "Pacific/Apia", "America/St_Johns", "Asia/Kathmandu", "XXX-14", "")
MTIMES = {
    "in ten years": 10 * YEAR,
    "1970": -MOMENT,
    "1960": -MOMENT - 10 * YEAR,
    "2107": 81 * YEAR,
    "one second ahead": 1.0,
}


class Together:
    """See the module.

    Args:
        folder: an empty one.
        size: share of the cases.
    """

    name = "together"
    wrong = frozenset({"internal error", "both at once", "different", "leftovers", "wrong code", "hung"})

    def __init__(self, folder: Path, seed: int = 2026, size: float = 1.0) -> None:
        adopt_orphans()
        import_everything()
        self._size = size
        used = [s for s in SCENARIOS if s.name in ("run", "report", "dose", "run with another threshold")]
        self._stage = Stage(folder, used)
        self._by_name = {scenario.name: scenario for scenario in used}
        self._run = self._by_name["run"]
        ended = play(self._stage, self._run)
        self._events, self._code = len(ended.events), ended.code
        self._reference = contents(self._stage.work)

    def cases(self) -> list[str]:
        """Stops at each third event of a run, locks, time zones, file times, copies, clocks."""
        found = [f"stopped:{SECOND[n % 3]}:{n}" for n in range(0, self._events, 3)]
        found += [f"lock:{name}" for name in LOCKS] + [f"zone:{zone}" for zone in ZONES]
        found += [f"mtime:{name}" for name in MTIMES] + ["copied:held", "copied:free", "clock:back", "clock:ahead"]
        return found[:: round(1 / self._size)]

    def check(self, case: str) -> Verdict:
        """Play it."""
        kind, _, rest = case.partition(":")
        plays: dict[str, Callable[[str], tuple[str, str]]] = {
            "stopped": self._stopped,
            "lock": self._locked,
            "zone": self._zone,
            "mtime": self._mtime,
            "copied": self._copied,
            "clock": self._clock,
        }
        word, detail = plays[kind](rest)
        return Verdict(self.name, case, word or "as it must be", detail[:800])

    def close(self) -> None:
        """Nothing is left running."""

    def _again(self, scenario: Scenario, **named: float) -> tuple[int, str]:
        ended = run_forked(self._stage.fill(scenario.argv), self._stage.scratch, self._stage.work, **named)  # type: ignore[arg-type]
        return ended.code, ended.stderr

    def _stopped(self, rest: str) -> tuple[str, str]:
        """The first is stopped in the middle; the second is refused, or has OUT to itself; the first then goes on."""
        name, _, number = rest.partition(":")
        self._stage.fresh("empty")
        argv, scratch = self._stage.fill(self._run.argv), self._stage.root / "first"
        scratch.mkdir(exist_ok=True)
        first = start_forked(argv, scratch, self._stage.work, FaultPlan(int(number), "stop"))
        first.wait_until_stopped()
        second, said = self._again(self._by_name[name])
        os.kill(first.pid, signal.SIGCONT)
        ended = first.end()
        if 1 in (second, ended.code):
            return "internal error", said[-400:] + ended.stderr[-400:]
        if ended.hung:
            return "hung", rest
        if ended.code not in (self._code, HELD) or second not in (0, 3, 4, HELD):
            return "wrong code", f"{ended.code}, {second}: {said[-200:]} {ended.stderr[-300:]}"
        self._again(self._run)
        return self._compared()

    def _compared(self) -> tuple[str, str]:
        now = contents(self._stage.work)
        different = sorted(n for n in now.keys() | self._reference.keys() if now.get(n) != self._reference.get(n))
        if leftovers(self._stage.work):
            return "leftovers", str(leftovers(self._stage.work)[:4])
        return ("different", str(different[:5])) if different else ("", "")

    def _locked(self, rest: str) -> tuple[str, str]:
        content, ahead, codes = LOCKS[rest]
        self._stage.fresh("empty")
        lock = self._stage.work / "out/lock.json"
        lock.parent.mkdir()
        lock.write_text("" if content is None else json.dumps(content))
        at = time.clock_gettime(time.CLOCK_REALTIME) + ahead
        os.utime(lock, (at, at))
        code, said = self._again(self._run, moment=time.clock_gettime(time.CLOCK_REALTIME))
        if code == 1:
            return "internal error", said[-500:]
        return ("", "") if code in codes else ("wrong code", f"{code}: {said[-300:]}")

    def _zone(self, rest: str) -> tuple[str, str]:
        before = os.environ.get("TZ")
        os.environ["TZ"] = rest
        time.tzset()
        try:
            play(self._stage, self._run)
        finally:
            os.environ.pop("TZ")
            if before is not None:
                os.environ["TZ"] = before
            time.tzset()
        return self._compared()

    def _mtime(self, rest: str) -> tuple[str, str]:
        """Times of files decide nothing but whether they are hashed again."""
        self._stage.fresh("empty")
        files = [path for path in (self._stage.root / "export").rglob("*") if path.is_file()]
        before = {path: path.stat().st_mtime_ns for path in files}
        try:
            for path in files:
                os.utime(path, (MOMENT + MTIMES[rest],) * 2)
            code, said = self._again(self._run)
        finally:
            for path, at in before.items():
                os.utime(path, ns=(at, at))
        if code != self._code:
            return ("internal error" if code == 1 else "wrong code"), f"{code}: {said[-400:]}"
        scores = {n: data for n, data in contents(self._stage.work).items() if n.endswith(".csv")}
        return ("", "") if all(self._reference[n] == data for n, data in scores.items()) else ("different", rest)

    def _copied(self, rest: str) -> tuple[str, str]:
        """OUT copied with the lock of a run that was stopped, or that has ended, goes on in its new place."""
        self._stage.fresh("empty")
        if rest == "held":
            scratch = self._stage.root / "first"
            scratch.mkdir(exist_ok=True)
            plan = FaultPlan(self._events // 2, "stop")
            first = start_forked(self._stage.fill(self._run.argv), scratch, self._stage.work, plan)
            first.wait_until_stopped()
            shutil.copytree(self._stage.work, self._stage.root / "copy")
            os.kill(first.pid, signal.SIGKILL)
            first.end()
        else:
            self._again(self._run)
            shutil.copytree(self._stage.work, self._stage.root / "copy")
        shutil.rmtree(self._stage.work)
        (self._stage.root / "copy").rename(self._stage.work)
        code, said = self._again(self._run)
        if code != self._code:
            return ("internal error" if code == 1 else "wrong code"), f"{code}: {said[-400:]}"
        return self._compared()

    def _clock(self, rest: str) -> tuple[str, str]:
        """Between two commands the clock jumps; what the last one was asked for stands."""
        self._stage.fresh("scored")
        other, jump = self._by_name["run with another threshold"], -YEAR if rest == "back" else YEAR
        codes = [self._again(other, moment=MOMENT + jump)[0], self._again(self._run, moment=MOMENT)[0]]
        if codes != [self._code, self._code]:
            return "wrong code", str(codes)
        now = {n: data for n, data in contents(self._stage.work).items() if n.endswith(".csv")}
        return (
            ("", "") if all(self._reference[n] == data for n, data in now.items()) else ("different", str(sorted(now)))
        )
