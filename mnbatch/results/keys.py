"""Digests that decide whether a slide's result still holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from mnbatch.assay.cells import SourceFile
from mnbatch.results.records import ScoreKeyParts


def stat_key(files: Iterable[SourceFile]) -> str:
    """Digest over path, size and modification time of a slide's files."""
    return _digest([[file.path, file.size, file.mtime_ns] for file in files])


def content_key(file_digests: Mapping[str, str]) -> str:
    """Digest over path and SHA-256 of a slide's files; a file that could not be read has the digest ""."""
    return _digest(sorted(file_digests.items()))


def score_key(parts: ScoreKeyParts) -> str:
    """Digest over all that the scores depend on."""
    # The key of crops is what it was before there were fields, and before "gallery" was renamed: what an earlier
    # version scored need not be scored again.
    known = parts.model_dump(exclude={"crops"} if parts.fields else {"crops", "fields"})
    return _digest(known | {"gallery": parts.crops})


def _digest(value: object) -> str:
    # File names that are no valid UTF-8 arrive as lone surrogates; JSON's ASCII escapes carry them.
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()[:32]
