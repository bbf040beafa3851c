"""Folders of a laboratory, and the command line as processes of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


class Place:
    """A laboratory's folders: export, model, and OUT."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.export, self.out, self.model = root / "export", root / "out", root / "model"

    def process(
        self, *arguments: object, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The command line as a process of its own."""
        given = {**os.environ, **(environment or {})}
        argv = [sys.executable, "-m", "mnbatch", *map(str, arguments)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=1200, check=False, env=given)

    def run_arguments(self, *more: object) -> list[str]:
        options = ["--model", self.model, "--layout", "donor-slide-folders", "--min-cells", "1", "--device", "cpu"]
        return [str(one) for one in ["run", self.export, "--out", self.out, *options, "--workers", "1", *more]]

    def run(self, *more: object) -> subprocess.CompletedProcess[str]:
        """A run over the export."""
        return self.process(*self.run_arguments(*more))

    def slide(self, name: str) -> Path:
        """The folder of a slide in OUT."""
        (found,) = self.out.glob(f"slides/{name}-*")
        return found
