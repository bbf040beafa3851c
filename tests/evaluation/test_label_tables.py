"""Tables of labelled crops: the same cells in every spelling, or a refusal with the line."""

import pytest

from mnbatch.errors import TrainingError
from mnbatch.evaluation.labelled_cells import read_labels


@pytest.fixture
def table(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"x")

    def write(text):
        path = tmp_path / "labels.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    "text",
    [
        "file,mn_count,slide\na.png,2,S1\nb.png,0,S1\n",
        "sep=;\nFile;MN_count;Slide;own;;\na.png;2.0;S1;x;;\nb.png;0.0;S1;;;\n",
        "# by AB\nfile\tlabel\tn_mn\tslide\na.png\tmn\t2\tS1\n\nb.png\tnomn\t\tS1\n",
    ],
)
def test_labels_are_the_same_in_every_spelling(table, text):
    found = [(cell.path.name, cell.has_mn, cell.n_mn, cell.slide) for cell in read_labels(table(text))]
    assert found == [("a.png", True, 2, "S1"), ("b.png", False, 0, "S1")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,mn_count\na.png,1.000\nb.png,0\n", "line 2: the count = 1.000 may be a number in thousands"),
        ("file,mn_count\na.png,1.5\nb.png,0\n", "line 2: the count = 1.5 is not a whole number"),
        ("file,label\na.png,mn\nb.png,nomn\na.png,nomn\n", "line 4: the file .* is already in line 2"),
        ("file,label,donor\na.png,mn\nb.png,nomn,D1\n", "line 2: 2 entries for 3 columns, none for donor"),
        ("file,label\na.png,mn,1\nb.png,nomn\n", "line 2: 3 entries for 2 columns"),
        ("file,mn_count,n_mn\na.png,1,0\nb.png,0,0\n", "both columns mn_count and n_mn"),
        ("file,label,Label\na.png,mn,nomn\nb.png,nomn,mn\n", "a column twice: label and Label"),
        ("file,label,donor\na.png,mn,1.23457E.11\nb.png,nomn,1.23457E+11\n", "line 3: '1.23457E.11' was a longer code"),
    ],
)
def test_labels_that_can_be_read_otherwise_are_refused_with_their_line(table, text, words):
    with pytest.raises(TrainingError, match=words):
        read_labels(table(text))


@pytest.mark.parametrize(
    ("spelled", "chance"), [("0.13", 0.13), ("0,13", 0.13), ("1.000", 1.0), ("0,125", 0.125), ("", 1)]
)
def test_probabilities_of_a_spreadsheet_have_points_or_commas(table, spelled, chance):
    cells = read_labels(table(f"file;label;inclusion_probability\na.png;mn;{spelled}\nb.png;nomn;1\n"))
    assert cells[0].chance == chance


@pytest.mark.parametrize("text", ["0", "1.2", "nan", "1e-300", "0.0000001", "12%", "often"])
def test_what_is_no_probability_is_refused(table, text):
    with pytest.raises(TrainingError, match=r"line 2: .* is not a probability"):
        read_labels(table(f"file,label,inclusion_probability\na.png,mn,{text}\nb.png,nomn,1\n"))
