"""What a record says of how a slide was scored and called, for stores that tests make."""

from mnbatch.results.records import CallStamp, Scoring


def call_stamp(threshold: float = 0.5, key: str = "key") -> CallStamp:
    """Called at this threshold."""
    return CallStamp(key=key, threshold=threshold, max_bad_fraction=0.1, quality_rules=1)


def scoring() -> Scoring:
    """Scored in a night, on a CPU."""
    return Scoring(
        device="cpu",
        precision="fp32",
        minibatch=64,
        mnbatch="0.1.0",
        torch="2.11",
        started="2026-03-01T21:05:06+00:00",
        finished="2026-03-02T04:05:06+00:00",
        seconds=12.5,
    )
