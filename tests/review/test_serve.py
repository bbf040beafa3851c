"""The local server: what it shows, what it saves, and all that it refuses."""

import http.client
import json
import os
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from mnbatch.review import trail
from mnbatch.review.server import LARGEST_BODY, ReviewServer, shown_file


class Asked:
    """What pages ask of the server."""

    def rebuild(self):
        return "made"

    def sign(self, asked):
        return f"signed by {asked['name']}"


@pytest.fixture
def server(out):
    out.paths.index.write_text("<h1>batch</h1>")
    out.paths.private.mkdir()
    (out.paths.private / "names.json").write_text("{}")
    with ReviewServer(out, Asked()) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def ask(server):
    def send(method, path, body=None, token=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        headers = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
        connection.request(method, f"/{server.token if token is None else token}/{path}", body, headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, data

    return send


@pytest.fixture
def post(server, ask):
    def send(content, path="_review", **headers):
        own = {"Origin": f"http://127.0.0.1:{server.server_port}", "Content_Type": "application/json"}
        return ask("POST", path, json.dumps(content), **(own | headers))

    return send


def test_it_listens_on_the_loopback_interface_alone(server):
    assert server.server_address[0] == "127.0.0.1"
    assert len(server.token) >= 32
    assert server.token in server.address


def test_pages_are_shown(ask):
    assert ask("GET", "index.html") == (200, b"<h1>batch</h1>")
    assert ask("GET", "")[0] == 200


@pytest.mark.parametrize("token", ["", "x", "annotations"])
def test_a_missing_or_wrong_token_is_refused(ask, token):
    assert ask("GET", "index.html", token=token)[0] == 403


@pytest.mark.parametrize(
    "path",
    [
        "../secret.html",
        "%2e%2e/secret.html",
        "slides/../../secret.html",
        "/etc/passwd",
        "..%5csecret.html",
        "private/names.json",
        "annotations/reviews/plan.json",
        "slides/s1/g1/crops.bin",
        "slides",
        "a%00.html",
        "link.html",
    ],
)
def test_paths_outside_of_out_and_private_ones_are_refused(out, ask, path):
    (out.paths.root.parent / "secret.html").write_text("secret")
    (out.paths.root / "link.html").symlink_to(out.paths.root.parent / "secret.html")
    status, data = ask("GET", path)
    assert status == 404
    assert b"secret" not in data


def test_other_hosts_and_origins_are_refused(ask, post):
    assert ask("GET", "index.html", Host="evil.example")[0] == 403
    assert ask("GET", "index.html", Origin="http://evil.example")[0] == 403
    assert ask("GET", "index.html", Sec_Fetch_Site="cross-site")[0] == 403
    assert post({"decisions": []}, Origin="http://evil.example")[0] == 403
    assert post({"decisions": []}, Origin=None)[0] == 403
    assert post({"decisions": []}, Origin="null")[0] == 403


def test_large_and_strange_bodies_are_refused(post, ask, server):
    assert post({}, Content_Length=str(LARGEST_BODY + 1))[0] == 413
    assert post({}, Content_Type="text/plain")[0] == 415
    assert post([1])[0] == 400
    assert post({"decisions": [{"slide_id": "s1"}]})[0] == 400
    assert post({"decisions": []}, path="slides/s1/record.json")[0] == 404
    own = {"Origin": f"http://127.0.0.1:{server.server_port}", "Content_Type": "application/json"}
    assert ask("POST", "_review", "{", **own)[0] == 400


def test_a_sign_off_is_passed_on_with_what_was_seen(post):
    asked = {"donor": "D1", "name": "Ada", "role": "", "reason": "", "digest": "ab"}
    status, data = post(asked, path="_sign")
    assert (status, json.loads(data)) == (200, {"message": "signed by Ada"})
    for broken in ({}, [], asked | {"name": 3}, asked | {"digest": ""}):
        assert post(broken, path="_sign")[0] == 400
    assert post(asked, path="_sign", Origin="http://evil.example")[0] == 403


def test_decisions_go_into_the_trail_and_may_be_withdrawn(out, queue, tools, server, post):
    decisions = tools.decide(queue, lambda _: "mn")[:3]
    status, data = post({"decisions": [d.fields() for d in decisions]})
    assert (status, json.loads(data)) == (200, {"added": 3})
    gone = tools.change(decisions[0], decision="withdrawn")
    assert post({"decisions": [gone.fields()]})[0] == 200
    assert trail.read_trail(out.paths, "s1").entries == (*decisions, gone)
    assert server.saved == 4
    assert json.loads(post({}, path="_report")[1]) == {"message": "made"}


def test_decisions_that_do_not_belong_are_refused_and_not_kept(out, queue, tools, post):
    first = tools.decide(queue, lambda _: "mn")[0]
    status, data = post({"decisions": [tools.change(first, cell_id="s1:nowhere").fields()]})
    assert status == 409
    assert "nowhere" in json.loads(data)["error"]
    assert trail.reviewed_slides(out.paths) == []


@pytest.fixture
def raw(server):
    """Bytes as they are to the server; what it answers until it closes or is silent."""

    def send(data, wait=5.0):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=wait) as link:
            link.sendall(data)
            answer = b""
            while chunk := link.recv(65536):
                answer += chunk
        return answer

    return send


def status_of(answer):
    assert answer.startswith(b"HTTP/1."), answer[:80]
    return int(answer.split()[1])


NEEDED = (
    *(
        "index.html",
        "slides.csv",
        "donors.csv",
        "slides/s1/index.html",
        "slides/s1/gallery.html",
        "slides/s1/cells.csv",
    ),
    *("slides/s1/contact-sheet.png", "slides/s1/gallery/s0000.jpg", "slides/s1/gallery/data.js"),
    *("donors/d-1/index.html", "donors/d-1/sheet.html", "donors/d-1/gallery.html"),
)
NOT_NEEDED = (
    *("manifest.json", "batch.json", "lock.json", "slides/s1/record.json", "slides/s1/summary.json", "runs/1.jsonl"),
    *(
        "private/names.json",
        "annotations/samples.csv",
        "annotations/index.html",
        "private/index.html",
        ".tmp/index.html",
    ),
    *("slides/.hidden/index.html", "slides/s1/g1/scores.csv", "slides/s1/gallery/.x.js", "donors/d-1/notes.html"),
)


def test_what_pages_need_is_shown_and_nothing_else(out, ask):
    for name in (*NEEDED, *NOT_NEEDED):
        (out.paths.root / name).parent.mkdir(parents=True, exist_ok=True)
        (out.paths.root / name).write_bytes(b"content")
    assert {name: ask("GET", name) for name in NEEDED} == dict.fromkeys(NEEDED, (200, b"content"))
    assert {name: ask("HEAD", name) for name in NEEDED} == dict.fromkeys(NEEDED, (200, b""))
    refused = {name: ask("GET", name) for name in NOT_NEEDED}
    assert {name: status for name, (status, data) in refused.items() if b"content" not in data} == dict.fromkeys(
        NOT_NEEDED, 404
    )


@pytest.mark.parametrize("name", ["INDEX.html", "Slides/s1/index.html", "slides/S1/index.html", "slides/s1/INDEX.HTML"])
def test_names_must_be_those_of_the_file_system(out, monkeypatch, name):
    """On a share that takes PRIVATE for private, a name of another spelling opens the file and must not be shown."""
    (out.paths.root / "slides/s1/index.html").parent.mkdir(parents=True, exist_ok=True)
    for spelled in ("index.html", "slides/s1/index.html"):
        (out.paths.root / spelled).write_bytes(b"page")
    assert shown_file(out.paths.root, name.lower()) == b"page"
    monkeypatch.setattr("mnbatch.review.server._regular", lambda path: b"opened all the same")
    assert shown_file(out.paths.root, name) is None


def test_links_and_what_is_no_file_are_not_shown(out, tmp_path):
    outside = tmp_path / "outside"
    (outside / "s1").mkdir(parents=True)
    (outside / "s1/index.html").write_bytes(b"secret")
    slides = out.paths.root / "slides"
    (slides / "linked").symlink_to(outside / "s1")
    assert shown_file(out.paths.root, "slides/linked/index.html") is None
    os.mkfifo(out.paths.root / "donors.csv")
    assert shown_file(out.paths.root, "donors.csv") is None
    assert shown_file(out.paths.root, "slides/" + "a" * 5000 + "/index.html") is None


STRANGE = [
    (b"GET http://[ HTTP/1.1\r\nHost: HOST\r\n\r\n", 400),
    (b"GET http://evil.example/TOKEN/index.html HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", 403),
    (b"GET http://HOST/TOKEN/index.html HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", 200),
    (b"GET /TOKEN/index.html HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
    (b"GET /TOKEN/index.html HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\nConnection: close\r\n\r\n", 400),
    (b"GET /TOKEN/a%00.html HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", 404),
    (b"GET /\xff\xfe/ HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", 400),
    (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", 403),
    (b"GET / HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", 403),
    (b"POST /TOKEN/_review HTTP/1.1\r\nHost: HOST\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
    (b"POST /TOKEN/_review HTTP/1.1\r\nHost: HOST\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST /TOKEN/_review HTTP/1.1\r\nHost: HOST\r\nContent-Length: 4, 5\r\n\r\n", 400),
    (b"POST /TOKEN/_review HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    (b"POST /TOKEN/_review HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    (b"OPTIONS /TOKEN/ HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", 405),
    (b"PROPFIND /TOKEN/ HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", 405),
    (b"get / HTTP/1.1\r\nHost: HOST\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400),
    (b"GET /TOKEN/index.html HTTP/1.1\r\nHost: HOST\r\nRange: bytes=0-1\r\nConnection: close\r\n\r\n", 200),
]


def test_strange_requests_are_answered_and_nothing_is_said_on_stderr(server, raw, capfd):
    here, token = f"127.0.0.1:{server.server_port}".encode(), server.token.encode()
    sent = {request: request.replace(b"HOST", here).replace(b"TOKEN", token) for request, _ in STRANGE}
    assert [(request[:60], status_of(raw(sent[request]))) for request, _ in STRANGE] == [
        (request[:60], status) for request, status in STRANGE
    ]
    assert capfd.readouterr().err == ""


def test_requests_in_one_go_are_answered_in_order(server, raw):
    one = f"GET /{server.token}/NAME HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n"
    last = one.replace("NAME", "nothing.html").replace("Host", "Connection: close\r\nHost")
    answer = raw((one.replace("NAME", "index.html") + last).encode())
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"404"]


def test_bodies_that_are_no_decisions_are_refused(server, ask, queue, tools, post, capfd):
    bodies = (
        *("[" * 100_000, '{"decisions":' + "[" * 100_000, '{"decisions": [{"slide_id": "a\\u0000b"}]}', "9" * 5000),
        *('{"decisions": [3, null, []]}', '{"decisions": [{"slide_id": ["x"], "cell_id": {}}]}', '{"decisions": "x"}'),
    )
    own = {"Origin": f"http://127.0.0.1:{server.server_port}", "Content_Type": "application/json"}
    assert [ask("POST", "_review", body, **own)[0] for body in bodies] == [400] * len(bodies)
    one = tools.decide(queue, lambda _: "mn")[0]
    strange = [tools.change(one, slide_id=name).fields() for name in ("a\x00b", "../x", "/etc", ".", "a" * 300)]
    assert [post({"decisions": [row]})[0] for row in strange] == [400] * len(strange)
    assert capfd.readouterr().err == ""


def test_twenty_clients_with_thirty_requests_each_are_all_answered(server):
    """Of 600 requests of 20 clients, 5 were reset."""

    def client(_):
        found = []
        for _ in range(30):
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
            connection.request("GET", f"/{server.token}/index.html")
            answer = connection.getresponse()
            found.append((answer.status, answer.read()))
            connection.close()
        return found

    with ThreadPoolExecutor(20) as pool:
        answers = [answer for found in pool.map(client, range(20)) for answer in found]
    assert answers == [(200, b"<h1>batch</h1>")] * 600


def test_slow_clients_keep_nobody_waiting(server, ask):
    slow = [socket.create_connection(("127.0.0.1", server.server_port), timeout=10) for _ in range(30)]
    try:
        for link in slow:
            link.sendall(b"GET / HTTP/1.1\r\nHost")
        assert ask("GET", "index.html")[0] == 200
    finally:
        for link in slow:
            link.close()


def test_the_browser_gets_an_address_that_works_once_and_holds_no_token(server):
    address = urlsplit(server.opening_address())
    assert server.token not in address.geturl()
    answers = []
    for _ in range(2):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        connection.request("GET", address.path)
        answer = connection.getresponse()
        answers.append((answer.status, answer.getheader("Location")))
        connection.close()
    assert answers == [(303, server.address), (410, None)]


class Decided:
    """Verdicts as the application gives them."""

    def of_donor(self, donor):
        return {"text": "decided", "next_donor": ""} if donor == "D1" else None


def test_verdicts_are_given_where_they_were_asked_for(out):
    page = out.paths.root / "donors" / "D1" / "gallery.html"
    page.parent.mkdir(parents=True)
    page.write_text("<p>gallery</p>")
    with ReviewServer(out, Asked(), verdicts=Decided()) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        answers = {}
        for path in ("donors/D1/gallery.html", "_verdict.js", "_verdict/D1", "_verdict/D2", "_verdict/../x"):
            connection = http.client.HTTPConnection("127.0.0.1", running.server_port, timeout=10)
            connection.request("GET", f"/{running.token}/{path}")
            answer = connection.getresponse()
            answers[path] = answer.status, answer.read()
            connection.close()
        running.shutdown()
        thread.join()
    assert b'_verdict.js"></script>' in answers["donors/D1/gallery.html"][1]
    assert page.read_text() == "<p>gallery</p>"
    assert b"setInterval" in answers["_verdict.js"][1]
    assert json.loads(answers["_verdict/D1"][1])["text"] == "decided"
    assert answers["_verdict/D2"][0] == answers["_verdict/../x"][0] == 404


def test_without_a_limit_pages_are_as_they_are(out, ask):
    page = out.paths.root / "donors" / "D1" / "gallery.html"
    page.parent.mkdir(parents=True)
    page.write_text("<p>gallery</p>")
    assert ask("GET", "donors/D1/gallery.html") == (200, b"<p>gallery</p>")
    assert ask("GET", "_verdict.js")[0] == 404
