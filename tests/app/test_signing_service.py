"""Signing without the command line; what is bound and refused is tested in tests/report/test_signing.py."""

import pytest

from mnbatch.app.signing_service import SignRequest, sign_donor
from mnbatch.errors import MismatchError, UsageError
from mnbatch.results.manifest import now
from tests.in_process import mnbatch


def test_the_command_prints_what_is_returned(out):
    done = sign_donor(out, SignRequest("D1", "Ada", role="Head", reason="urgent"))
    assert done.added
    first, second = done.text.splitlines()
    assert first.startswith("donor D1: 6 MNBN of ")
    assert second == f"signed by Ada (Head), {done.signature.time}"
    assert done.signature.time <= now()
    assert not sign_donor(out, SignRequest("D1", "Ada", role="Head", reason="urgent")).added
    said = mnbatch("review", "sign", out.paths.root, "--donor", "D1", "--name", "Bo", "--unfinished", "urgent")
    assert said.stdout.splitlines()[0] == first
    assert said.stdout.splitlines()[1].startswith("signed by Bo, ")
    # Reports were made twice where a sign-off was added: before it, and to show it.
    assert done.notes == (done.notes[0],) * 2
    assert said.stderr == f"mnbatch: {done.notes[0]}\n" * 2


def test_refusals(out):
    with pytest.raises(UsageError, match="no donor 'D7'"):
        sign_donor(out, SignRequest("D7", "Ada"))
    with pytest.raises(UsageError, match="not complete"):
        sign_donor(out, SignRequest("D1", "Ada"))
    with pytest.raises(MismatchError, match="has changed"):
        sign_donor(out, SignRequest("D1", "Ada", reason="x", digest="0" * 32))
    assert not out.paths.signatures.exists()
