"""Runs with models of other networks: scores as ever, and on the pages the maps that there are."""

import csv
import re

import pytest

from mnbatch.pipeline.run import run
from mnbatch.results.store import Store

NO_MAP = "no map: the model gives none"


@pytest.mark.parametrize(
    ("architecture", "maps"), [("alex-light", ("evidence",)), pytest.param("alexnet", (), marks=pytest.mark.slow)]
)
def test_a_model_of_another_network_scores_and_shows_the_maps_it_gives(
    settings, random_model, tmp_path, architecture, maps
):
    model = random_model(tmp_path / "model", architecture)
    out = tmp_path / "out"
    run(settings(model=str(model)))
    tables = sorted(out.glob("slides/*/cells.csv"))
    assert len(tables) == 4
    for table in tables:
        with table.open(encoding="utf-8-sig", newline="") as file:
            scores = {row["p_mn"] for row in csv.DictReader(file)}
        assert len(scores) > 1
        assert "" not in scores
    pages = [path.read_text() for path in sorted(out.glob("slides/*/index.html"))]
    assert len(pages) == 4
    for page in pages:
        assert ('<image class="heat evidence"' in page) == bool(maps)
        assert (NO_MAP in page) != bool(maps)
        assert "heat attention" not in page
        assert [*re.findall(r'name="map" value="(\w+)"', page)] == [*maps]
    records = list(Store(out).records())
    assert {record.model.architecture for record in records} == {architecture}
    assert {record.scored.maps for record in records} == {maps}
