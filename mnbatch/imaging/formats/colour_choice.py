"""One of the three colours of a picture, where a person chose it as the nuclear channel."""

from __future__ import annotations

from mnbatch.assay.reasons import say
from mnbatch.imaging.formats.pixels import Decoded, checked
from mnbatch.imaging.formats.size_limits import UndecodableError

_COLOURS = {"r": 0, "red": 0, "g": 1, "green": 1, "b": 2, "blue": 2}


def one_colour(values: Decoded, channel: str | None) -> Decoded:
    """A picture as it is, or of a colour picture the channel that a person chose.

    Args:
        values: (height, width), or (height, width, 3).
        channel: number from 1, or a colour's name; None takes all.

    Raises:
        UndecodableError: there is no such channel.
    """
    if channel is None or values.ndim == 2:
        return values
    index = _COLOURS.get(channel.casefold(), int(channel) - 1 if channel.isdigit() else -1)
    if not 0 <= index < values.shape[2]:
        why = say("no-such-channel", channel=channel)
        raise UndecodableError(say("channel-unknown", count=values.shape[2], known="", what=why))
    return checked(values[..., index])
