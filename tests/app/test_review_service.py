"""A review without the command line: what goes in and out, where it stands, and the local server."""

import http.client
import json
import threading

import pytest

from mnbatch.app.rebuild import rebuild_after_change
from mnbatch.app.review_service import (
    export_reviewed,
    import_decisions,
    review_plan,
    review_server,
    review_state,
    served,
)
from mnbatch.errors import MismatchError, NoInputError, StorageError, UsageError
from tests.in_process import mnbatch


@pytest.fixture
def review(queue, tools, tmp_path):
    decisions = tools.decide(queue, lambda cell_id: "mn" if int(cell_id[-8:-4]) < 4 else "not_mn")
    return tools.write(tmp_path / "review.csv", decisions)


def test_decisions_are_imported_once_and_the_command_says_the_same(out, queue, review):
    done = import_decisions(out.paths.root, review)
    assert (done.added, done.known, done.slide_ids, done.reviewers) == (queue.drawn, 0, ("s1",), ("Ada",))
    again = import_decisions(out.paths.root, review)
    assert (again.added, again.known) == (0, queue.drawn)
    said = mnbatch("review", "import", out.paths.root, review)
    assert said.stdout.splitlines() == [
        f"0 decisions of Ada added on 1 slide, known before: {queue.drawn}",
        rebuild_after_change(out).text,
    ]


def test_each_refusal_has_its_class(out, queue, tools, tmp_path, review):
    with pytest.raises(NoInputError):
        import_decisions(tmp_path / "nowhere", review)
    one = tools.decide(queue, lambda _: "mn")[0]
    with pytest.raises(MismatchError):
        import_decisions(out.paths.root, tools.write(tmp_path / "o.csv", [tools.change(one, slide_id="zz")]))
    with pytest.raises(UsageError):
        import_decisions(out.paths.root, tools.write(tmp_path / "b.csv", [tools.change(one, decision="?")]))
    with pytest.raises(NoInputError):
        export_reviewed(out.paths.root, tmp_path / "labels")
    with pytest.raises(UsageError):
        review_plan(out.paths.root, {"sample": 0.0})


def test_where_it_stands_is_what_the_command_prints(out, review):
    import_decisions(out.paths.root, review)
    state = review_state(out.paths.root)
    assert [(slide, one.status) for slide, one in state.reviews.items()] == [("s1", "complete"), ("s2", "none")]
    assert state.missing == ()
    said = json.loads(mnbatch("review", "status", out.paths.root, "--json").stdout)
    assert [(row["slide_id"], row["status"], row["not_counted"]) for row in said] == [
        ("s1", "complete", ""),
        ("s2", "none", ""),
    ]


def test_labels_are_written(out, review, queue, tmp_path):
    import_decisions(out.paths.root, review)
    done = export_reviewed(out.paths.root, tmp_path / "labels")
    assert (done.mn + done.not_mn, done.left_out, done.missing) == (queue.drawn, {}, ())
    assert (tmp_path / "labels" / "labels.csv").exists()


def test_a_plan_is_shown_and_changed(out):
    shown = review_plan(out.paths.root)
    assert (shown.plan.sample, shown.changed) == (0.2, False)
    changed = review_plan(out.paths.root, {"sample": 0.4})
    assert (changed.plan.sample, changed.changed) == (0.4, True)
    assert review_plan(out.paths.root).plan == changed.plan
    assert "sample        0.4" in mnbatch("review", "plan", out.paths.root).stdout


class Heard(list):
    def heard(self, done):
        self.append(done)


def ask(server, path, content):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    headers = {"Origin": f"http://127.0.0.1:{server.server_port}", "Content-Type": "application/json"}
    connection.request("POST", f"/{server.token}/{path}", json.dumps(content), headers)
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def test_the_server_makes_reports_and_signs_and_tells_its_listener(out):
    heard = Heard()
    with review_server(out.paths.root, listener=heard) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        assert ask(server, "_report", {}) == (200, {"message": f"report: {out.paths.index}"})
        digest = heard[0].made.bases["D1"].digest
        form = {"donor": "D1", "name": "Ada", "role": "", "reason": "urgent", "digest": digest}
        status, content = ask(server, "_sign", form)
        refused, why = ask(server, "_sign", form | {"reason": ""})
        server.shutdown()
        thread.join()
    assert (status, content["message"]) == (200, heard[1].text)
    assert heard[1].signature.name == "Ada"
    assert refused == 409
    assert "not complete" in why["error"]


def test_a_port_that_is_taken_is_refused(out):
    with review_server(out.paths.root) as server, pytest.raises(StorageError, match="cannot be used"):
        review_server(out.paths.root, server.server_port)


def test_no_server_without_results(tmp_path):
    with pytest.raises(NoInputError):
        review_server(tmp_path / "nowhere")


def test_the_server_refuses_an_adjudication_of_the_own_difference(out, queue, tools):
    ada = tools.decide(queue, lambda _: "mn")
    with served(out.paths.root) as server:
        for said in (ada, tools.decide(queue, lambda _: "not_mn", reviewer="Bo")):
            assert ask(server, "_review", {"decisions": [d.fields() for d in said]})[0] == 200
        own = [tools.change(d, decision="not_mn", look="adjudication").fields() for d in ada[:2]]
        status, content = ask(server, "_review", {"decisions": own})
        third = [{**row, "reviewer": "Cy"} for row in own]
        assert ask(server, "_review", {"decisions": third}) == (200, {"added": 2})
    assert (status, f"Ada decided cell {ada[0].cell_id} before, as a reader" in content["error"]) == (409, True)
