"""Port and token of an OUT stay, a report that is due is made by the next start, a read-only OUT is refused."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest

from mnbatch.app.review_service import report_left_due, review_server
from mnbatch.errors import StorageError
from mnbatch.review.served_place import ServedPlace, read_place, write_place


def test_the_next_start_has_the_same_address(out):
    with review_server(out.paths.root) as server:
        address = server.address
    assert out.paths.serve.stat().st_mode & 0o077 == 0
    with review_server(out.paths.root) as server:
        assert server.address == address


def test_a_port_that_is_taken_is_left_to_the_other_and_stays_that_of_the_out(out):
    with review_server(out.paths.root) as server:
        port = server.server_port
    with socket.create_server(("127.0.0.1", port)), review_server(out.paths.root) as server:
        assert server.server_port != port
    assert read_place(out.paths).port == port


def test_a_broken_file_gives_a_new_token_and_makes_the_report(out):
    out.paths.serve.write_text("{")
    assert read_place(out.paths).due
    assert report_left_due(out.paths.root) is not None
    assert not read_place(out.paths).due


def test_an_out_that_cannot_be_written_is_refused_at_the_start(out, monkeypatch):
    def full(*args, **more):
        raise StorageError("It is read-only.", "")

    monkeypatch.setattr("mnbatch.review.served_place.write_atomically", full)
    with pytest.raises(StorageError, match=f"Decisions cannot be saved in {re.escape(str(out.paths.root))}"):
        review_server(out.paths.root)


def test_what_is_decided_is_told_of_the_trail_and_not_of_the_report(out, queue, tools):
    with review_server(out.paths.root) as server:
        assert server.decided("s1") == {"key": queue.result_key, "saved": {}, "altered": []}
        one = tools.change(tools.decide(queue, lambda _: "mn")[0], count=2, classes=("bridge",), comment="faint")
        server.save([one])
        (at,) = [n for n, place in enumerate(queue.places) if place.cell_id == one.cell_id]
        known = ["mn", 2, one.time, "", ["bridge"], "faint"]
        assert server.decided("s1")["saved"] == {"Ada": {str(at): known}}
        assert read_place(out.paths).due


def save_one(out, queue, tools, address):
    at = urlsplit(address)
    token = at.path.split("/")[1]
    body = json.dumps({"decisions": [tools.decide(queue, lambda _: "mn")[0].fields()]})
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=60)
    own = {"Origin": f"http://{at.netloc}", "Content-Type": "application/json"}
    connection.request("POST", f"/{token}/_review", body, own)
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP", "SIGKILL"])
def test_every_end_makes_the_report_or_the_next_start_does(out, queue, tools, number):
    command = [sys.executable, "-m", "mnbatch", "review", "serve", str(out.paths.root)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    address = process.stdout.readline().split()[1]
    save_one(out, queue, tools, address)
    assert read_place(out.paths).due
    # As a terminal that is closed: nobody reads any more.
    process.stdout.close()
    process.stderr.close()
    process.send_signal(getattr(signal, number))
    process.wait(300)
    assert read_place(out.paths).due == (number == "SIGKILL")
    if number == "SIGKILL":
        assert report_left_due(out.paths.root) is not None
    assert not read_place(out.paths).due
    assert "Ada" in (out.paths.slide("s1").root / "index.html").read_text()


def test_the_place_is_kept_as_it_is(out):
    place = ServedPlace(5000, "a" * 32, due=True)
    write_place(out.paths, place)
    assert read_place(out.paths) == place
    assert not [name for name in os.listdir(out.paths.root) if name.startswith(".tmp")]
    assert time.time() - out.paths.serve.stat().st_mtime < 3600
