"""A night is long: images that come into a slide while it is scored are in no count, and its record says so."""

from __future__ import annotations

from collections.abc import Callable

from mnbatch.assay.cells import Slide
from mnbatch.assay.reasons import Coder, Named, say, shareable
from mnbatch.errors import StorageError
from mnbatch.pipeline.since_planned import Arrivals
from mnbatch.pipeline.waiting import grown_record
from mnbatch.results.manifest import RunLog
from mnbatch.results.store import Store


def note_grown(
    slide: Slide, store: Store, arrivals: Arrivals, tell: Callable[[str], None], log: RunLog, code: Coder | None = None
) -> bool:
    """Look again at the place of a slide that was just scored; what came is told and kept in its record.

    Args:
        slide: as it was found, with its own names, but for `slide_id`.
        tell: for a person, one sentence.
        code: how names are covered; None leaves them.

    Returns:
        Whether images came.
    """
    record = store.record(slide.slide_id)
    if record is None or record.status != "scored":
        return False
    try:
        came = arrivals.of(slide)
    except StorageError as error:
        # What was scored is to be reported; the next run meets the same folder before it scores.
        log.write("not looked at again", level="warning", slide=slide.slide_id, error=error)
        tell(f"{record.name}: whether images came while it was scored is not known")
        return False
    if not came:
        return False
    said: str = say("came-meanwhile", count=len(came), file=Named("file", came[0]))
    if code is not None:
        said = shareable(said, code)
    store.put_record(grown_record(record, said))
    log.write("grown", level="warning", slide=slide.slide_id, count=len(came))
    tell(f"{record.name}: {said}")
    return True
