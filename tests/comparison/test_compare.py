"""A comparison is resumed run by run, repeats for a seed, outlives a network that fails, and fills its tables."""

import csv
import io
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from mnbatch.comparison import comparison_run as story
from mnbatch.comparison.comparison_run import compare
from mnbatch.comparison.comparison_settings import Settings, parse_networks, parse_protocols, table_cells
from mnbatch.comparison.comparison_tables import comparison_csv, comparison_figure, comparison_markdown
from mnbatch.comparison.outcomes import grouped
from mnbatch.errors import TrainingError, UsageError
from mnbatch.training.recipe import PAPER

QUICK = PAPER.model_copy(update={"epochs": 2, "minibatch": 8})
SETTINGS = Settings(networks=("wide", "tiny"), protocols=("tad", "tvad"), seeds=1, recipe=QUICK, limit=24)


def quiet(_: str) -> None:
    pass


@pytest.fixture
def trained(monkeypatch):
    """Keys of the runs that are trained."""
    keys: list[str] = []
    real = story.measured

    def counted(cell, **rest):
        keys.append(cell.key)
        return real(cell=cell, **rest)

    monkeypatch.setattr(story, "measured", counted)
    return keys


def test_cheaper_networks_come_first_and_a_second_call_trains_nothing(crops, tmp_path, trained):
    first = compare(crops, tmp_path / "out", SETTINGS, quiet)
    wanted = [f"{name}--scratch--{protocol}--seed1" for name in ("tiny", "wide") for protocol in ("tad", "tvad")]
    assert trained == wanted
    again = compare(crops, tmp_path / "out", SETTINGS, quiet)
    assert trained == wanted
    assert again.outcomes == first.outcomes


def test_copies_and_donors_that_read_the_same_are_said(crops, tmp_path):
    (crops.parent / "again.png").write_bytes((crops.parent / "0.png").read_bytes())
    crops.write_text(crops.read_text().replace("57.png,mn,d9", "57.png,mn,D9") + "again.png,mn,d3\n")
    said = []
    found = compare(crops, tmp_path / "out", replace(SETTINGS, networks=("tiny",), protocols=("tad",)), said.append)
    assert any(line.startswith("warning: The donors 'D9' and 'd9' read the same") for line in said)
    assert "warning: 1 of 61 labelled files are copies of others and were left out: again.png." in said
    assert "1 of 61 labelled files are copies of others" in comparison_markdown(found)


def test_a_killed_comparison_goes_on_where_it_was(crops, tmp_path, trained, monkeypatch):
    write = story.write_files

    def killed(folder, files):
        write(folder, files)
        if len(trained) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(story, "write_files", killed)
    with pytest.raises(KeyboardInterrupt):
        compare(crops, tmp_path / "out", SETTINGS, quiet)
    monkeypatch.setattr(story, "write_files", write)
    found = compare(crops, tmp_path / "out", SETTINGS, quiet)
    assert len(trained) == len(set(trained)) == 4
    assert [outcome.status for outcome in found.outcomes] == ["done"] * 4


@pytest.mark.parametrize(
    "change",
    [{"recipe": QUICK.model_copy(update={"epochs": 1})}, {"limit": 20}, {"prevalence": 0.065}, {"threads": 2}],
)
def test_changed_settings_are_run_again(crops, tmp_path, trained, change):
    settings = replace(SETTINGS, networks=("tiny",), protocols=("tad",))
    compare(crops, tmp_path / "out", settings, quiet)
    compare(crops, tmp_path / "out", replace(settings, **change), quiet)
    assert len(trained) == 2


def test_another_network_or_seed_leaves_finished_runs_alone(crops, tmp_path, trained):
    compare(crops, tmp_path / "out", replace(SETTINGS, networks=("tiny",)), quiet)
    compare(crops, tmp_path / "out", replace(SETTINGS, seeds=2), quiet)
    assert len(trained) == len(set(trained)) == 8


def test_a_damaged_outcome_is_run_again(crops, tmp_path, trained):
    settings = replace(SETTINGS, networks=("tiny",), protocols=("tad",))
    compare(crops, tmp_path / "out", settings, quiet)
    file = tmp_path / "out" / "cells" / "tiny--scratch--tad--seed1.json"
    file.write_bytes(file.read_bytes()[:100])
    compare(crops, tmp_path / "out", settings, quiet)
    assert len(trained) == 2
    assert json.loads(file.read_text())["status"] == "done"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_networks_that_fail_are_recorded_and_the_others_go_on(crops, tmp_path, trained):
    settings = replace(SETTINGS, networks=("nan", "hungry", "wide"), protocols=("tad",))
    found = compare(crops, tmp_path / "out", settings, quiet)
    outcomes = {outcome.network: outcome for outcome in found.outcomes}
    assert "The loss is nan in epoch 1" in outcomes["nan"].reason
    assert "out of memory" in outcomes["hungry"].reason
    assert outcomes["wide"].status == "done"
    page = comparison_markdown(found)
    assert "Runs that failed" in page
    assert "`nan--scratch--tad--seed1` | The loss is nan" in page
    compare(crops, tmp_path / "out", settings, quiet)
    assert len(trained) == 3
    compare(crops, tmp_path / "out", settings, quiet, retry_failed=True)
    assert sorted(trained[3:]) == ["hungry--scratch--tad--seed1", "nan--scratch--tad--seed1"]


def test_the_same_seed_gives_the_same_figures_and_another_seed_others(crops, tmp_path):
    settings = replace(SETTINGS, networks=("tiny",), protocols=("tvad",), seeds=2)
    first, second = (compare(crops, tmp_path / name, settings, quiet).outcomes for name in ("a", "b"))
    assert [o.scores for o in first] == [o.scores for o in second]
    assert first[0].scores != first[1].scores


def test_a_real_network_learns_from_weights_that_fit_and_from_scratch(crops, tmp_path):
    from mnbatch.networks import ARCHITECTURES

    backbone = {k: v for k, v in ARCHITECTURES["alex-light"]().state_dict().items() if k.startswith("features.")}
    save_file(backbone, tmp_path / "backbone.safetensors")
    recipe = QUICK.model_copy(update={"epochs": 1})
    settings = replace(
        SETTINGS,
        networks=("alex-light", "tiny"),
        protocols=("tad",),
        recipe=recipe,
        limit=8,
        init=(tmp_path / "backbone.safetensors",),
    )
    found = compare(crops, tmp_path / "out", settings, quiet)
    starts = [(o.network, o.start, o.started_from) for o in found.outcomes]
    assert starts == [
        ("tiny", "scratch", "scratch"),
        ("alex-light", "weights", "weights of backbone.safetensors, all but 2 of 12 tensors"),
        ("alex-light", "scratch", "scratch"),
    ]
    assert {len({r.start for r in grouped(found.outcomes) if r.name == n}) for n in ("tiny",)} == {1}
    page = comparison_markdown(found)
    assert "All systems, TAD, from backbone weights (reduced)" in page
    assert "All systems, TAD, from scratch (reduced)" in page


def test_cross_entropy_is_run_for_the_method_only():
    settings = Settings(networks=("alex-light", "attention-alexnet"), protocols=("tad",), seeds=1)
    names = [(cell.name, cell.start) for cell in table_cells(settings, lambda name: name == "attention-alexnet")]
    assert names == [
        ("alex-light", "scratch"),
        ("attention-alexnet", "weights"),
        ("attention-alexnet (cross-entropy)", "weights"),
        ("attention-alexnet", "scratch"),
        ("attention-alexnet (cross-entropy)", "scratch"),
    ]


def test_tables_hold_what_was_measured_and_mark_a_reduced_run(crops, tmp_path):
    found = compare(crops, tmp_path / "out", replace(SETTINGS, prevalence=0.065), quiet)
    rows = list(csv.DictReader(io.StringIO(comparison_csv(found).decode("utf-8-sig"))))
    assert len(rows) == 4
    for row, outcome in zip(rows, found.outcomes, strict=True):
        assert float(row["auc"]) == pytest.approx(outcome.figures["auc"].value, abs=1e-5)
        tested = sum(int(row[name]) for name in ("true_positive", "false_negative", "true_negative", "false_positive"))
        assert tested == int(row["test_mn"]) + int(row["test_nomn"]) == len(outcome.scores)
        assert row["reduced"] == "2 of 60 epochs, at most 24 training cells"
        assert float(row["average_precision_at_prevalence"]) <= float(row["average_precision"])
    page = comparison_markdown(found)
    headings = [line for line in page.splitlines() if line.startswith("#")]
    assert len(headings) >= 7
    assert all("(reduced)" in heading for heading in headings)
    assert f"{found.outcomes[0].figures['auc'].value:.3f}" in page


def test_a_full_run_is_not_marked_reduced():
    assert Settings().reduced == ""
    assert Settings(limit=10).reduced == "at most 10 training cells"


def test_figures_are_drawn_and_repeat(crops, tmp_path):
    found = compare(crops, tmp_path / "out", replace(SETTINGS, networks=("tiny",), seeds=2), quiet)
    drawn = comparison_figure(found)
    assert drawn["comparison.png"].startswith(b"\x89PNG")
    assert b"REDUCED" in drawn["comparison.svg"]
    assert comparison_figure(found)["comparison.svg"] == drawn["comparison.svg"]
    assert comparison_figure(replace(found, outcomes=())) == {}


def test_unknown_names_are_refused_before_anything_is_read():
    with pytest.raises(UsageError, match="lenet is not known"):
        parse_networks("alex-light,lenet")
    with pytest.raises(UsageError, match="tvod"):
        parse_protocols("tvod")
    assert parse_protocols("tvad,tad") == ("tad", "tvad")
    assert parse_networks("alex-ca, alexnet") == ("alex-ca", "alexnet")


def test_weights_that_fit_nothing_are_refused_when_asked_for(crops, tmp_path):
    save_file({"features.0.weight": torch.zeros(1, 1, 1, 1)}, tmp_path / "odd.safetensors")
    settings = replace(SETTINGS, init=(tmp_path / "odd.safetensors",), starts="weights")
    with pytest.raises(UsageError, match="fits any"):
        compare(crops, tmp_path / "out", settings, quiet)


def test_an_unreadable_image_stops_before_training(crops, tmp_path, trained):
    (crops.parent / "7.png").write_bytes(b"no image")
    with pytest.raises(TrainingError, match=r"7\.png cannot be used"):
        compare(crops, tmp_path / "out", replace(SETTINGS, limit=None), quiet)
    assert trained == []
