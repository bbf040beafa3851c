"""`mnbatch status`: what an OUT holds and what its latest run did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnbatch.errors import EXIT_SLIDES_FAILED, NoInputError
from mnbatch.intake import read_json

if TYPE_CHECKING:
    from mnbatch.results.records import SlideRecord
    from mnbatch.results.store import Store


_STATUSES = ("done", "partial", "failed")


def status(
    out: Annotated[Path, typer.Argument(help="Output directory of `mnbatch run`.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Say what is done, failed and running in OUT. Exit code 3 when slides are failed, as `run` has it."""
    from mnbatch.results.lock import current_holder
    from mnbatch.results.manifest import read_manifest
    from mnbatch.results.paths import OutPaths

    paths = OutPaths(out.resolve())
    if not paths.batch.exists():
        raise NoInputError(f"{out} holds no results of mnbatch.", "Give the --out directory of a run.")
    manifest, holder = read_manifest(paths), current_holder(paths.lock)
    content = _content(out, manifest, held_by=None if holder is None else f"{holder.host}:{holder.pid}")
    typer.echo(json.dumps(content, indent=1) if as_json else _as_text(content))
    raise typer.Exit(EXIT_SLIDES_FAILED if content["failed"] else 0)


def _content(out: Path, manifest: dict[str, Any] | None, held_by: str | None) -> dict[str, Any]:
    from mnbatch.results.store import Store

    store = Store(out)
    records = store.records()
    summaries = {record.slide_id: _slide(store, record) for record in records}
    # A copy under another donor is reported as failed, not taken once.
    copies = [r.slide_id for r in records if r.status == "copy" and summaries[r.slide_id]["status"] != "failed"]
    failed = [
        {
            "slide_id": record.slide_id,
            "slide": record.name,
            "reason": summaries[record.slide_id]["reason"] or record.reason,
        }
        for record in records
        if record.status == "failed" or summaries[record.slide_id]["status"] == "failed"
    ]
    run = (
        {} if manifest is None else {k: manifest.get(k) for k in ("status", "exit_code", "started", "finished", "host")}
    )
    if run.get("status") == "running" and held_by is None:
        run["status"] = "killed"
    return {
        "out": str(out),
        "slides": len(records) - len(copies),
        "done": sum(summaries[record.slide_id]["status"] in ("done", "partial") for record in records),
        "failed": failed,
        "copies": copies,
        "held_by": held_by,
        "latest_run": run,
    }


def _slide(store: Store, record: SlideRecord) -> dict[str, Any]:
    """The slide as the latest report had it, unless its result was damaged since."""
    wrong = store.damage(record)
    if wrong:
        return {"status": "failed", "reason": f"its stored result is damaged: {wrong}"}
    try:
        summary = read_json(store.paths.slide(record.slide_id).summary, finite=False)
        status, reason = summary["status"], summary.get("reason", "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        status, reason = None, ""
    if status not in _STATUSES or not isinstance(reason, str):
        return {"status": "not reported yet", "reason": ""}
    return {"status": status, "reason": reason}


def _as_text(content: dict[str, Any]) -> str:
    run = content["latest_run"]
    lines = [
        f"{content['out']}: {content['slides']} slides, {content['done']} done, {len(content['failed'])} failed",
        f"latest run: {run.get('status', 'unknown')}, started {run.get('started')}, exit code {run.get('exit_code')}",
    ]
    if content["held_by"]:
        lines.append(f"held by {content['held_by']}")
    lines += [f"failed: {slide['slide_id']}: {slide['reason']}" for slide in content["failed"]]
    lines += [f"copy, counted once: {slide_id}" for slide_id in content["copies"]]
    return "\n".join(lines)
