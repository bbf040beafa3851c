"""A disk that is full or fails at every event that needs it: exit code 10, no half state, the same bytes next time."""

from __future__ import annotations

from tests.campaign.faults import GROWING
from tests.campaign.kills import Disturbed
from tests.campaign.stage import leftovers
from tests.campaign.verdicts import Verdict

FULL = 10
FAILING = frozenset({"write", "fsync", "mkdir", "rename"})


class Disk(Disturbed):
    """See the module."""

    name = "disk"
    wrong = frozenset(
        {"internal error", "refused", "different", "leftovers", "orphans", "hung", "wrong code", "killed"}
    )

    def cases(self) -> list[str]:
        """A full disk from each growing event on, an I/O error at each that may meet one, short writes."""
        return self._cases((("ENOSPC", GROWING), ("EIO", FAILING), ("short", frozenset({"write"}))))

    def check(self, case: str) -> Verdict:
        """Fail, look at the code, run again, compare."""
        scenario, ended, where = self._disturb(case)
        if ended.orphans or ended.hung:
            return Verdict(self.name, case, "hung" if ended.hung else "orphans", where)
        if ended.code == 1:
            return Verdict(self.name, case, "internal error", f"{where}: {ended.stderr[-800:]}")
        if ended.code != FULL:
            return self._another_code(case, ended.code, where, ended.stderr)
        word, detail = self._aftermath(scenario)
        return Verdict(self.name, case, word or "exit 10, same bytes", f"{where}: {detail}" if word else "")

    def _another_code(self, case: str, code: int, where: str, stderr: str) -> Verdict:
        """Success may be said only of what is whole."""
        scenario = self._scenarios[case.rsplit(":", 2)[0]]
        if code < 0:
            return Verdict(self.name, case, "killed", f"{where}: {code}")
        missing = self._differences(scenario) + leftovers(self._stage.work)
        if code == self._codes[scenario.name] and not missing:
            return Verdict(self.name, case, "harmless")
        return Verdict(self.name, case, "wrong code", f"{where}: exit {code}, {missing[:4]}: {stderr[-300:]}")
