"""Writes the parts of the documentation that the code says itself; `make reference` runs it, a test compares.

docs/data-dictionary.md between its markers: the columns of the tables. docs/cli.md: commands and options.
docs/api.md between its markers: the functions of the library.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import typer

import mnbatch
from mnbatch.cli import app
from mnbatch.report.tables import TABLES

DOCS = Path(__file__).resolve().parent
BEGIN, END = "<!-- begin {} -->\n", "<!-- end {} -->\n"


def columns(name: str) -> str:
    """The columns of a table as a table in Markdown."""
    table = next(table for table in TABLES if table.name == name)
    lines = ["| column | unit, values | meaning |", "|---|---|---|"]
    lines += [f"| `{c.name}` | {_cell(c.unit)} | {_cell(c.doc)} |" for c in table.columns]
    return "\n".join(lines) + "\n"


def data_dictionary(text: str) -> str:
    """docs/data-dictionary.md with its tables as the code declares them."""
    for table in TABLES:
        text = _between(text, table.name, columns(table.name))
    return text


def command_line() -> str:
    """docs/cli.md: every command with its arguments and options."""
    root = typer.main.get_command(app)
    parts = [
        "# The command line\n\nMade by `make reference` from the commands themselves; `mnbatch COMMAND --help` "
        "says the same. Exit codes: [operations.md](operations.md).\n"
    ]
    parts += [_command(path, command) for path, command in _commands(root, ("mnbatch",))]
    return "\n".join(parts)


def library(text: str) -> str:
    """docs/api.md with the signatures and docstrings of what `import mnbatch` offers."""
    parts = []
    for name in mnbatch.__all__:
        found = getattr(mnbatch, name)
        if inspect.isclass(found) or inspect.isfunction(found):
            parts.append(_described(name, found))
    return _between(text, "api", "\n".join(parts))


def files() -> dict[Path, str]:
    """Each file with the text that it should have."""
    dictionary, api = DOCS / "data-dictionary.md", DOCS / "api.md"
    return {
        dictionary: data_dictionary(dictionary.read_text(encoding="utf-8")),
        DOCS / "cli.md": command_line(),
        api: library(api.read_text(encoding="utf-8")),
    }


def _between(text: str, name: str, content: str) -> str:
    begin, end = BEGIN.format(name), END.format(name)
    if begin not in text or end not in text:
        raise ValueError(f"the markers of {name} are missing")
    head, rest = text.split(begin)
    return head + begin + content + end + rest.split(end)[1]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _commands(command: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        return [(path, command)]
    below = [] if path == ("mnbatch",) else [(path, command)]
    return below + [
        found for name, one in command.commands.items() if not one.hidden for found in _commands(one, (*path, name))
    ]


def _command(path: tuple[str, ...], command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden and p.name != "help"]
    usage = " ".join([*path, *(_argument(p) for p in arguments)])
    lines = [f"## `{usage}`\n", _plain(command.help or "") + "\n"]
    if options or arguments:
        lines += ["| | default | |", "|---|---|---|"]
        lines += [_parameter(p) for p in (*arguments, *options)]
    return "\n".join(lines) + "\n"


def _argument(parameter: Any) -> str:
    name = str(parameter.metavar or parameter.name).upper()
    name = f"{name}..." if parameter.nargs == -1 else name
    return name if parameter.required else f"[{name}]"


def _parameter(parameter: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if parameter.param_type_name == "argument":
        names = f"`{str(parameter.name).upper()}`"
    shown = getattr(parameter, "show_default", None)
    default = parameter.default if parameter.default not in (None, (), []) and shown is not False else ""
    default = "required" if parameter.required else "" if callable(default) or "Sentinel" in repr(default) else default
    if isinstance(shown, str):
        default = shown
    if isinstance(default, bool):
        default = "yes" if default else ""
    return f"| {names} | {_cell(str(default))} | {_cell(_plain(getattr(parameter, 'help', '') or ''))} |"


def _described(name: str, found: object) -> str:
    kind = "class" if inspect.isclass(found) else "function"
    signature = "" if kind == "class" and not hasattr(found, "__init__") else _signature(found)
    lines = [f"### `{name}`\n", f"```python\n{name}{signature}\n```\n", _docstring(found)]
    if inspect.isclass(found):
        for method, value in vars(found).items():
            if method.startswith("_") or not (inspect.isfunction(value) or isinstance(value, property)):
                continue
            of = value.fget if isinstance(value, property) else value
            call = "" if isinstance(value, property) else _signature(value).replace("self, ", "").replace("self", "")
            lines += [f"#### `{name}.{method}`\n", f"```python\n{method}{call}\n```\n", _docstring(of)]
    return "\n".join(lines)


def _signature(found: Any) -> str:
    """Without the quotes that postponed annotations come in."""
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(found)))


def _docstring(found: object) -> str:
    text = inspect.getdoc(found) or ""
    text = re.sub(r"(?m)^(Args|Returns|Raises|Attributes):$", r"\n**\1**\n", text)
    text = re.sub(r"(?m)^    (\w+(?:, \w+)*): ", r"* `\1`: ", text)
    return re.sub(r"(?m)^    (?=\S)", "", text) + "\n"


def _plain(text: str) -> str:
    return " ".join(re.sub(r"\[/?[a-z ]+\]", "", text).split())


def main() -> int:
    """Write what differs; with --check only say so."""
    wrong = {
        path: text for path, text in files().items() if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    for path, text in wrong.items():
        print(f"{path.name} is {'not up to date' if '--check' in sys.argv else 'written'}")
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
    return 1 if wrong and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
