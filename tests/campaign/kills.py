"""SIGKILL at every event that changes files; the same command again ends with the bytes of an undisturbed one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.campaign.faults import FaultPlan, What
from tests.campaign.forking import Ended, adopt_orphans, import_everything, run_forked
from tests.campaign.stage import SCENARIOS, Scenario, Stage, contents, leftovers, play
from tests.campaign.verdicts import Verdict

GOOD = (0, 3)


class Disturbed:
    """Commands with a fault at each of their events: what kills and full disks have in common.

    Args:
        folder: an empty one.
        scenarios: by name; all by default.
    """

    name = ""
    wrong: frozenset[str] = frozenset()

    def __init__(self, folder: Path, scenarios: Sequence[str] = ()) -> None:
        adopt_orphans()
        import_everything()
        chosen = [s for s in SCENARIOS if (not scenarios or s.name in scenarios) and _exists(s)]
        self._stage = Stage(folder, chosen)
        self._scenarios = {scenario.name: scenario for scenario in chosen}
        self._reference: dict[str, dict[str, bytes]] = {}
        self._events: dict[str, tuple[tuple[str, str], ...]] = {}
        self._codes: dict[str, int] = {}
        for scenario in chosen:
            self._learn(scenario)

    def _learn(self, scenario: Scenario) -> None:
        ended = play(self._stage, scenario)
        assert ended.code in GOOD, (scenario.name, ended)
        self._events[scenario.name] = ended.events
        self._codes[scenario.name] = ended.code
        self._reference[scenario.name] = contents(self._stage.work)
        assert not leftovers(self._stage.work), scenario.name

    def _cases(self, whats: Sequence[tuple[What, frozenset[str]]]) -> list[str]:
        return [
            f"{name}:{what}:{number}"
            for name, events in self._events.items()
            for number, (kind, _) in enumerate(events)
            for what, kinds in whats
            if not kinds or kind in kinds
        ]

    def close(self) -> None:
        """Nothing is left running."""

    def _disturb(self, case: str) -> tuple[Scenario, Ended, str]:
        name, what, number = case.rsplit(":", 2)
        scenario = self._scenarios[name]
        self._stage.fresh(scenario.state)
        plan = FaultPlan(int(number), what)  # type: ignore[arg-type]
        ended = run_forked(self._stage.fill(scenario.argv), self._stage.scratch, self._stage.work, plan)
        kind, path = self._events[name][int(number)]
        return scenario, ended, f"{kind} {path}"

    def _again(self, scenario: Scenario) -> Ended:
        return run_forked(self._stage.fill(scenario.argv), self._stage.scratch, self._stage.work)

    def _differences(self, scenario: Scenario) -> list[str]:
        now, then = contents(self._stage.work), self._reference[scenario.name]
        return sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))

    def _aftermath(self, scenario: Scenario) -> tuple[str, str]:
        """The word for what the undisturbed command made of the remains; "" where all is as it must be."""
        ended = self._again(scenario)
        if ended.code == 1 or ended.hung:
            return "internal error", f"exit {ended.code}: {ended.stderr[-600:]}"
        different = self._differences(scenario)
        lying = leftovers(self._stage.work)
        # A folder that was asked for and is there, whole, may be refused the second time.
        if ended.code != self._codes[scenario.name] and (different or lying):
            return "refused", f"exit {ended.code}: {ended.stderr[-600:]}"
        if lying:
            return "leftovers", ", ".join(lying[:5])
        return ("different", ", ".join(different[:5])) if different else ("", "")


class Kills(Disturbed):
    """See the module."""

    name = "kills"
    wrong = frozenset({"internal error", "refused", "different", "leftovers", "orphans", "hung", "survived"})

    def cases(self) -> list[str]:
        """Before every event, and in the middle of every write."""
        return self._cases((("kill", frozenset()), ("torn", frozenset({"write"}))))

    def check(self, case: str) -> Verdict:
        """Kill, run again, compare."""
        scenario, ended, where = self._disturb(case)
        if ended.orphans:
            return Verdict(self.name, case, "orphans", f"{ended.orphans} processes after the kill at {where}")
        if ended.code != -9:
            word = "hung" if ended.hung else "survived"
            return Verdict(self.name, case, word, f"exit {ended.code} at {where}: {ended.stderr[-300:]}")
        word, detail = self._aftermath(scenario)
        return Verdict(self.name, case, word or "same bytes", f"{where}: {detail}" if word else "")


def _exists(scenario: Scenario) -> bool:
    from mnbatch.cli import app

    if scenario.name != "verify":
        return True
    return any(command.name == "verify" for command in app.registered_commands)
