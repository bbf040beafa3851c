"""Digests of the tables and pages of a batch that was reported, reviewed, dosed and signed.

`python -m tests.report.golden` writes them again; a change of them belongs into CHANGELOG.md, with its effect.
Versions, digests and embedded pictures are left out: they may differ between machines.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

from tests.campaign.forking import run_forked
from tests.campaign.stage import SCENARIOS, Stage

GOLDEN = Path(__file__).with_suffix(".json")
NAMES = ("report", "report with own cells", "dose", "review plan", "review import", "review sign", "history")


def digests(folder: Path) -> dict[str, str]:
    """Scenario and file -> digest of what a person can read of it."""
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in NAMES]
    stage = Stage(folder, scenarios)
    found = {}
    for scenario in scenarios:
        stage.fresh(scenario.state)
        ended = run_forked(stage.fill(scenario.argv), stage.scratch, stage.work)
        assert ended.code == 0, (scenario.name, ended)
        for path in sorted(stage.work.rglob("*")):
            if path.suffix in {".csv", ".html"} and path.name != "scores.csv":
                text = readable(path.read_text(encoding="utf-8"), folder)
                name = f"{scenario.name}: {path.relative_to(stage.work).as_posix()}"
                found[name] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return found


def readable(text: str, folder: Path) -> str:
    """A table or page without what differs from machine to machine."""
    text = text.replace(str(folder), "FOLDER")
    text = re.sub(r"base64,[A-Za-z0-9+/=]*|'sha256-[^']*'", "PICTURE", text)
    text = re.sub(r"mnbatch [0-9]+\.[0-9]+\.[0-9]+", "mnbatch VERSION", text)
    return re.sub(r"\b[0-9a-f]{12,64}\b", "DIGEST", text)


if __name__ == "__main__":
    # No TemporaryDirectory: the commands run in forks of this process, which would remove it when they end.
    scratch = Path(tempfile.mkdtemp())
    GOLDEN.write_text(json.dumps(digests(scratch), indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(scratch)
    print(f"{GOLDEN.name} is written", file=sys.stderr)
