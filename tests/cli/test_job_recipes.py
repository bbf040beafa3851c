"""The recipe for a Slurm array in docs/operations.md, as it is written there, with an sbatch that runs jobs here."""

import os
import subprocess
import sys
from pathlib import Path

from mnbatch.results.store import Store
from tests.pipeline.conftest import write_random_model, write_slide

DOCS = Path(__file__).resolve().parents[2] / "docs/operations.md"
SBATCH = """#!/bin/bash
# Runs what it is given at once: an array task by task, --wrap as a command. Prints the number of the job.
export SLURM_ARRAY_JOB_ID=4711 SLURM_CPUS_PER_TASK=1
for word; do
  case $word in
    --array=*) tasks=${word#--array=};;
    --wrap) wrap=1;;
    *) last=$word;;
  esac
done
if [ -n "$wrap" ]; then bash -c "$last"; else
  for SLURM_ARRAY_TASK_ID in $(seq ${tasks%-*} ${tasks#*-}); do export SLURM_ARRAY_TASK_ID; bash "$last" >&2; done
fi
echo 4711
"""


def recipe(first_line: str) -> str:
    """The block of the page that has this line."""
    blocks = DOCS.read_text(encoding="utf-8").split("```")
    return next(block.partition("\n")[2] for block in blocks if first_line in block)


def test_a_slurm_array_scores_one_out(tmp_path):
    for number in range(3):
        write_slide(tmp_path / f"export/D{number}", number, cells=3)
    write_random_model(tmp_path / "model", 1, ("fluorescence", "giemsa"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sbatch").write_text(SBATCH)
    (tmp_path / "bin/sbatch").chmod(0o755)
    (tmp_path / "score.sh").write_text(recipe("# score.sh EXPORT OUT JOBS"))
    known = {"MNBATCH": f"{sys.executable} -m mnbatch", "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    known |= {"MNBATCH_MODEL": str(tmp_path / "model"), "MNBATCH_DEVICE": "cpu"}
    done = subprocess.run(
        ["bash", "score.sh", tmp_path / "export", tmp_path / "out", "2"],
        cwd=tmp_path,
        env=os.environ | known,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [record.status for record in Store(tmp_path / "out").records()] == ["scored"] * 3
    assert "slides: 3, 3 done, 0 failed" in done.stdout
    assert (tmp_path / "out/index.html").exists()
