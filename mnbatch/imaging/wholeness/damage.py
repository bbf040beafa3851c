"""What is raised where a file shows that a part of its picture is missing or was overwritten."""

from mnbatch.assay.reasons import say


class DamageError(ValueError):
    """What the file shows, in a few words; a kind of ValueError, as decoders raise it.

    Args:
        what: holds no name of the export.
    """

    def __init__(self, what: str) -> None:
        super().__init__(say("damage", what=what))
