"""Tables and pages of a reviewed, dosed and signed batch stay the same bytes until somebody means to change them."""

import json

from tests.report.golden import GOLDEN, digests


def test_tables_and_pages_are_what_they_were(tmp_path):
    known = json.loads(GOLDEN.read_text(encoding="utf-8"))
    found = digests(tmp_path)
    assert sorted(found) == sorted(known)
    changed = [name for name in known if found[name] != known[name]]
    assert changed == [], "say in CHANGELOG.md what changed, and run `python -m tests.report.golden`"
