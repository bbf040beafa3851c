"""One table in every accepted spelling reads to the same values; a changed one is equal, or refused with its line."""

import csv
import io
import re

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mnbatch.assay.sample_sheet import read_samples
from mnbatch.dosimetry.calibration_tables import read_points
from mnbatch.dosimetry.dose_estimation import read_cases
from mnbatch.errors import MnbatchError

FEW = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
COUNT = st.integers(300, 9000)
CASES = st.lists(st.tuples(COUNT, st.integers(0, 299)), min_size=1, max_size=5).map(
    lambda rows: [(f"A{number}", n, x) for number, (n, x) in enumerate(rows)]
)
DOSES = st.lists(st.integers(0, 400).map(lambda centi: centi / 100), min_size=1, max_size=5)
MARKS = {",": ".", ";": ",", "\t": ","}


@st.composite
def spellings(draw, header, rows):
    """Bytes of a table as somebody's spreadsheet writes it."""
    separator = draw(st.sampled_from(list(MARKS)))
    rows = [[_spelled(draw, value, MARKS[separator]) for value in row] for row in rows]
    width = draw(st.integers(0, 2))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    buffer = io.StringIO(newline="")
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer = csv.writer(buffer, delimiter=separator, quoting=quoting, lineterminator=end)
    names = [draw(st.sampled_from([name, name.upper(), f" {name} "])) for name in header]
    for row in [names, *rows]:
        writer.writerow([*row, *[""] * width])
        if draw(st.booleans()):
            buffer.write(draw(st.sampled_from([end, f"# a comment{end}", separator * 2 + end])))
    told = draw(st.sampled_from(["", f"sep={separator}{end}", f"# by AB{end}{end}"]))
    return (told + buffer.getvalue()).encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])))


def _spelled(draw, value, mark):
    if isinstance(value, int):
        return draw(st.sampled_from([str(value), f"{value}.0", f" {value}"]))
    if isinstance(value, float):
        return draw(st.sampled_from([f"{value:.2f}", f"{value:.4f}", f"{value:g}"])).replace(".", mark)
    return value


def counts(cases):
    return [(case.id, case.counts.cells, case.counts.events) for case in cases if not case.problem]


@FEW
@given(st.data(), CASES)
def test_cases(data, rows):
    found = read_cases(data.draw(spellings(["id", "n", "x"], rows)), "mn")
    assert [case.problem for case in found] == [""] * len(rows)
    assert counts(found) == rows


@FEW
@given(st.data(), DOSES, COUNT)
def test_calibration_points(data, doses, cells):
    rows = [(dose, cells + number, number) for number, dose in enumerate(doses)]
    found = read_points(data.draw(spellings(["dose_gy", "n", "x"], rows)), "mn")
    assert [(point.dose, point.cells, point.events) for point in found] == rows


@FEW
@given(data=st.data(), doses=DOSES)
def test_sample_sheets(tmp_path, data, doses):
    rows = [(f"s{number}", "D1", dose) for number, dose in enumerate(doses)]
    path = tmp_path / "samples.csv"
    path.write_bytes(data.draw(spellings(["slide", "donor", "dose_gy"], rows)))
    assert [(row.slide, row.donor, row.dose_gy) for row in read_samples(path)] == rows


THOUSANDS = [",", ".", " ", "'", "\u2019", "\u00a0", "\u202f", "_"]


@st.composite
def damages(draw, text):
    """A table after a spreadsheet, an editor or a slip."""
    lines = text.split("\n")
    place = draw(st.integers(1, len(lines) - 2))
    fields = lines[place].split(";")
    number = draw(st.integers(1, len(fields) - 1))
    value = fields[number]
    if draw(st.booleans()) and len(value) > 3:
        fields[number] = value[:-3] + draw(st.sampled_from(THOUSANDS)) + value[-3:]
    else:
        fields[number] = draw(
            st.sampled_from(
                [f"{value};", f"-{value}", f"{value}.5", "nan", "", f'"{value}', f"{value};7", "1E+03", "\0"]
            )
        )
    if draw(st.booleans()):
        lines[place] = ";".join(fields)
    else:
        lines.insert(draw(st.integers(1, len(lines) - 1)), lines[place])
    return "\n".join(lines)


@FEW
@given(st.data(), CASES)
@example(None, [("A0", 1000, 25)])
def test_a_changed_table_is_equal_or_refused_with_its_line(data, rows):
    text = "id;N;X\n" + "".join(f"{name};{n};{x}\n" for name, n, x in rows)
    changed = "id;N;X\nA0;1.000;25\n" if data is None else data.draw(damages(text))
    found, said = attempt(changed)
    problems = [said] if found is None else [case.problem for case in found if case.problem]
    assert all(re.search(r"lines? \d", problem) for problem in problems)
    assert set(counts(found or [])) <= set(rows)


def attempt(text):
    """Cases and "", or None and why the whole table is refused."""
    try:
        return read_cases(text.encode(), "mn"), ""
    except MnbatchError as error:
        return None, error.message
