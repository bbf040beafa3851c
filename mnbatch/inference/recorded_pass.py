"""A pass of a GPU that is recorded once and then started as a whole: a CUDA graph.

A pass is some hundred kernels. Started one by one from Python they take longer to start than a fast GPU takes to
compute them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

_log = logging.getLogger(__name__)

Pass = Callable[[Tensor], Tensor]


class _Recorded:
    """A pass over memory of its own."""

    def __init__(self, compute: Pass, like: Tensor) -> None:
        self._input = torch.zeros(like.shape, dtype=like.dtype, device=like.device)
        beside = torch.cuda.Stream(like.device)  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream(like.device))
        with torch.cuda.stream(beside):  # libraries set themselves up, which cannot be recorded
            compute(self._input)
        torch.cuda.current_stream(like.device).wait_stream(beside)
        self._graph = torch.cuda.CUDAGraph()
        # Its own stream would be the first device's for all; other threads of this process may use theirs meanwhile.
        with torch.cuda.graph(self._graph, stream=beside, capture_error_mode="thread_local"):
            self._values = compute(self._input)

    def __call__(self, crops: Tensor) -> Tensor:
        self._input.copy_(crops)
        self._graph.replay()
        return self._values


def recorded(compute: Pass, like: Tensor) -> Pass:
    """A pass, recorded where that can be done and gives the same bits; else as it is, and the log says so.

    To be called while the device is the current one.

    Args:
        compute: depends on its input alone and looks at no value on the way.
        like: an input of the size that all will have, on the device; its values are scored once to compare.

    Returns:
        What gives the same; its values stand until it is called again. On a CPU `compute` itself.

    Raises:
        torch.OutOfMemoryError: no room for the pass.
    """
    if like.device.type != "cuda":
        return compute
    try:
        found = _Recorded(compute, like)
        same = _same_bits(found(like), compute(like))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        _log.warning("A pass could not be recorded on %s (%s): going on without, slower.", like.device, why)
        return compute
    if same:
        torch.cuda.empty_cache()  # what was compared; the recorded pass has memory of its own
        return found
    _log.warning("A recorded pass gives other bits on %s: going on without, slower.", like.device)
    return compute


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """Of float32; maps that a network does not give are NaN, which is not equal to itself."""
    return torch.equal(one.view(torch.int32), other.view(torch.int32))
