"""The local server: what it shows, what it saves, and all that it refuses."""

import http.client
import json
import threading

import pytest

from mnbatch.review import trail
from mnbatch.review.serve import LARGEST_BODY, ReviewServer


@pytest.fixture
def server(out):
    out.paths.index.write_text("<h1>batch</h1>")
    out.paths.private.mkdir()
    (out.paths.private / "names.json").write_text("{}")
    with ReviewServer(out, lambda: "made", lambda asked: f"signed by {asked['name']}") as running:
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
