"""The house keeps its own rules: imports point down, and help needs no torch."""

import ast
import collections
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

from mnbatch.pipeline.worker_process import LOOKING

PACKAGE = Path(__file__).resolve().parents[1] / "mnbatch"

BASE = {"csvfile", "handed_table", "intake", "renamed", "spelled_numbers"}
"""How files are read and tables written: for every room."""

MAY_IMPORT = {
    "errors": set(),
    "processes": set(),
    "one_thread_processes": {"processes"},
    "streams": set(),
    "files": {"errors", "processes"},
    "csvfile": set(),
    "handed_table": set(),
    "spelled_numbers": set(),
    "renamed": set(),
    "intake": set(),
    "settings": {"errors"},
    "console": set(),
    "assay": {"errors"},
    "dosimetry": {"errors", "assay"},
    "imaging": {"errors", "assay"},
    "networks": set(),
    "inference": {"errors", "files", "processes", "assay", "imaging", "networks"},
    "results": {"errors", "files", "processes", "assay", "dosimetry", "settings"},
    "review": {"errors", "files", "assay", "results"},
    "report": {"errors", "files", "processes", "assay", "dosimetry", "results", "review"},
    "pipeline": {
        *("errors", "files", "processes", "streams", "settings", "console", "assay", "imaging", "inference", "results"),
        "report",
    },
    "app": {
        *("errors", "files", "settings", "console", "assay", "dosimetry", "imaging", "inference", "results", "review"),
        *("report", "pipeline"),
    },
    "simulate": {"errors", "files", "processes", "one_thread_processes", "assay", "imaging"},
    "evaluation": {"errors", "files", "settings", "assay", "imaging", "networks", "inference"},
    "training": {
        *("errors", "files", "processes", "one_thread_processes", "settings", "assay", "imaging", "networks"),
        *("inference", "simulate", "evaluation"),
    },
    "comparison": {
        "errors",
        "files",
        "settings",
        "assay",
        "imaging",
        "networks",
        "inference",
        "training",
        "evaluation",
    },
}
HEAVY = {"torch", "torchvision", "tifffile", "skimage", "matplotlib", "pandas", "sklearn", "statsmodels", "scipy"}
WITHOUT = {
    "assay": {"torch", "torchvision", "tifffile", "skimage", "PIL"},
    "dosimetry": {"torch", "torchvision", "tifffile", "skimage", "PIL"},
    "imaging": {"torch", "torchvision"},
    "report": {"torch", "torchvision"},
    "review": {"torch", "torchvision", "PIL"},
    "app": {"torch", "torchvision", "tifffile", "skimage", "PIL", "typer", "rich"},
    "results": {"torch", "torchvision"},
    "networks": {"PIL", "skimage", "tifffile"},
}


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def modules(room: str) -> list[Path]:
    folder = PACKAGE / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{room}.py"]


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_imports_point_down(room):
    allowed = MAY_IMPORT[room] | BASE | {room}
    for path in modules(room):
        rooms = {name.split(".")[1] for name in imported(path) if name.startswith("mnbatch.")}
        # `from mnbatch import __version__` is no room.
        assert rooms - {"__version__"} <= allowed, f"{path} imports {sorted(rooms - allowed)}"


@pytest.mark.parametrize("room", sorted(WITHOUT))
def test_rooms_keep_heavy_packages_out(room):
    for path in modules(room):
        packages = {name.split(".")[0] for name in imported(path)}
        assert not packages & WITHOUT[room], f"{path} imports {sorted(packages & WITHOUT[room])}"


def test_every_room_has_a_rule():
    rooms = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert rooms - {"__init__", "__main__", "cli", "api"} == set(MAY_IMPORT)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["--version"],
        ["train", "--help"],
        ["evaluate", "--help"],
        ["compare", "--help"],
        ["dose", "--help"],
        ["curve", "fit", "--help"],
    ],
)
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys; from mnbatch.cli import main\n"
        f"sys.argv = ['mnbatch', *{arguments!r}]\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"heavy = {HEAVY!r} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_status_loads_neither_arrays_nor_records(tmp_path):
    (tmp_path / "batch.json").write_text("{}")
    code = (
        "import sys; from mnbatch.cli import main\n"
        f"sys.argv = ['mnbatch', 'status', {str(tmp_path)!r}]\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 6, end.code\n"
        f"heavy = {HEAVY | {'numpy', 'PIL', 'typer', 'pydantic'}!r} & set(sys.modules)\n"
        "heavy |= {'mnbatch.results.records', 'mnbatch.cli.run'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


SCAN = ("app.inspection", "imaging.discovery", "imaging.inputs", "pipeline.workers")
REPORT = ("app.rebuild", "report.build", "report.unchanged")


@pytest.mark.parametrize(
    ("modules", "left_out"),
    [
        # A scan's own process, and the one that looks at pictures for it.
        (SCAN, {*HEAVY - {"tifffile"}, "pydantic", "mnbatch.results.store", "mnbatch.report"}),
        (LOOKING, {*HEAVY - {"tifffile"}, "pydantic", "mnbatch.imaging.preparation", "mnbatch.results"}),
        (REPORT, {*HEAVY - {"scipy"}, "scipy.optimize", "scipy.ndimage", "urllib.request", "mnbatch.pipeline"}),
    ],
    ids=("scan", "looking", "report"),
)
def test_a_command_loads_what_it_needs_alone(modules, left_out):
    names = ", ".join(name if name.startswith("mnbatch.") else f"mnbatch.{name}" for name in modules)
    code = f"import sys, {names}\nheavy = {left_out!r} & set(sys.modules)\nassert not heavy, heavy\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def graph():
    """Module -> the modules it imports at its top level; what a function imports comes later and closes no circle."""
    names = {path: ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in PACKAGE.rglob("*.py")}
    known = {name.removesuffix(".__init__") for name in names.values()}
    found = {}
    for path, name in names.items():
        targets = found.setdefault(name.removesuffix(".__init__"), set())
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "mnbatch":
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    targets.add(full if full in known else node.module)
    return found


def test_no_two_files_import_each_other():
    imports = {name: targets - {"mnbatch"} for name, targets in graph().items()}
    order = graphlib.TopologicalSorter(imports)
    order.prepare()  # raises CycleError, which names the circle


def test_file_names_are_unique():
    names = [
        path.stem for path in PACKAGE.rglob("*.py") if not path.stem.startswith("__") and path.parent.name != "cli"
    ]
    assert [name for name, count in collections.Counter(names).items() if count > 1] == []


READ_PLAINLY = {
    "processes.py": "/proc",
    "pipeline/worker_process.py": "/proc",
    "inference/onnx_file.py": "a file that was just written",
    "dosimetry/calibration_curve.py": "curves of the package",
    "report/rendering.py": "pages of the package",
    "evaluation/evaluation_page.py": "pages of the package",
    "report/derived_files.py": "round trip of an own object",
    "results/dosing_settings.py": "round trip of an own object",
    "results/commit.py": "round trip of an own object",
    "imaging/wholeness/page_count.py": "a shape in a TIFF tag, in a decoding process",
}


def test_files_from_outside_are_read_through_intake():
    """A pipe, gigabytes of zeros or nested brackets at any path must not hang or kill a command."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            loads = node.func.attr in {"loads", "load"} and ast.unparse(node.func.value) == "json"
            if loads or node.func.attr in {"read_bytes", "read_text"}:
                found.setdefault(path.relative_to(PACKAGE).as_posix(), []).append(node.lineno)
    assert {name: lines for name, lines in found.items() if name not in READ_PLAINLY} == {}
    assert sorted(set(READ_PLAINLY) - set(found)) == []
