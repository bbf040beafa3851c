"""Shells complete commands: `mnbatch --install-completion` writes what asks for this."""

import os
import subprocess
import sys


def test_commands_are_completed():
    asked = {"_MNBATCH_COMPLETE": "complete_bash", "COMP_WORDS": "mnbatch re", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['mnbatch']; from mnbatch.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["report", "review"]
