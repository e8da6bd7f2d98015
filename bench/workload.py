"""Workload programs: finding them, reading the comment block they describe themselves in, running them.

The protocol is in `docs/workloads.md`; what they print is read by `bench.printed`. Reading files happens in
`names`, `path` and `find` only; `parse_header` and `argv` are pure.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast

from bench.errors import SuiteError, UsageError
from bench.limits import nearest
from bench.model import Metric, Scalar, Workload
from bench.printed import METRIC

COMPILED = "/usr/lib/isobench"
"""Where the image has the workloads that are C sources."""

_OPEN, _CLOSE = "# /// bench", "# ///"
_KEYS = ("title", "area", "needs", "args", "metrics", "server")
_BETTER = ("higher", "lower", "none")
_ARG = re.compile(r"[a-z][a-z0-9_]*\Z")


# --- where the programs are --------------------------------------------------------------------


def root() -> Path:
    """Host directory of the workload programs: the wheel's data, or `workloads/` of a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "data" / "workloads"
    return installed if installed.is_dir() else package.parent / "workloads"


def names(directory: Path | None = None) -> list[str]:
    """Names of all workloads as AREA/NAME, sorted."""
    return sorted(name for name, _ in _programs(directory or root()))


def path(name: str, directory: Path | None = None) -> Path:
    """Host path of the program of that workload; UsageError with the nearest name otherwise."""
    programs = dict(_programs(directory or root()))
    if name not in programs:
        raise UsageError(
            f"unknown workload '{name}'{nearest(name, programs)}",
            fix=f"the workloads are: {', '.join(sorted(programs)) or 'none'}",
        )
    return programs[name]


def find(name: str, directory: Path | None = None) -> Workload:
    """The workload of that name, as its own comment block describes it.

    Raises UsageError where there is none of that name, SuiteError where its block is wrong or the
    file cannot be read.
    """
    program = path(name, directory)
    try:
        text = program.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"{program}: cannot be read: {error}", fix=f"chmod a+r {program}") from error
    return parse_header(text, name)


def _programs(directory: Path) -> Iterator[tuple[str, Path]]:
    for program in directory.glob("*/*"):
        parts = program.relative_to(directory).parts
        hidden = any(part.startswith((".", "_")) for part in parts)
        if program.is_file() and not hidden and program.suffix != ".pyc":
            yield f"{parts[0]}/{program.stem}", program


# --- the comment block -------------------------------------------------------------------------


def parse_header(text: str, name: str) -> Workload:
    """The workload that the `# /// bench` block of this program text describes.

    Raises SuiteError, with the workload's name and the line or the key, where there is no such
    block, its TOML is wrong, or a value in it is.
    """
    lines = text.splitlines()
    table = _block(lines, name)
    for key in table:
        if key not in _KEYS:
            raise _wrong(
                name, f"unknown key '{key}'{nearest(key, _KEYS)}", f"the keys are: {', '.join(_KEYS)}"
            )
    area = _text(table, "area", name)
    if area != name.partition("/")[0]:
        raise _wrong(name, f"area is '{area}'", f"area must be the directory, '{name.partition('/')[0]}'")
    needs = _words(table, "needs", name, 'write: needs = ["fio"]')
    server = _words(table, "server", name, 'write: server = ["iperf3", "--server", "--port", "{port}"]')
    return Workload(
        name=name,
        title=_text(table, "title", name),
        area=area,
        interpreter=_interpreter(lines, name),
        needs=needs,
        args=_args(table.get("args", {}), name),
        metrics=_metrics(table.get("metrics", {}), name),
        server=server,
    )


def _block(lines: list[str], name: str) -> dict[str, Any]:
    """The TOML table of the block. Lines outside it are blanked, so that line numbers stay true."""
    opened = next((i for i, line in enumerate(lines) if line.rstrip() == _OPEN), None)
    if opened is None:
        raise _wrong(name, "has no '# /// bench' block", "describe the workload as docs/workloads.md says")
    toml = [""] * (opened + 1)
    for number, line in enumerate(lines[opened + 1 :], start=opened + 2):
        if line.rstrip() == _CLOSE:
            break
        if line.rstrip() != "#" and not line.startswith("# "):
            raise _wrong(name, f"line {number}: the block is not closed", f"end it with '{_CLOSE}'")
        toml.append(line[2:])
    else:
        raise _wrong(name, f"line {opened + 1}: the block is not closed", f"end it with '{_CLOSE}'")
    try:
        return tomllib.loads("\n".join(toml))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _wrong(name, f"the block is not TOML: {error}", "correct that line of its header") from error


def _interpreter(lines: list[str], name: str) -> tuple[str, ...]:
    if lines and lines[0].startswith("/*"):
        return ()  # a C source: what runs is its binary
    words = lines[0][2:].split() if lines and lines[0].startswith("#!") else []
    if not words or not words[0].startswith("/"):
        raise _wrong(
            name,
            "line 1: neither '#!' with an absolute interpreter nor a C comment",
            "begin it with #!/usr/bin/python3 -IS",
        )
    # The kernel passes everything behind the interpreter as one argument, and so does this.
    return (words[0], " ".join(words[1:])) if len(words) > 1 else (words[0],)


def _args(table: object, name: str) -> dict[str, Scalar]:
    if not isinstance(table, dict):
        raise _wrong(name, "args is not a table", "write: args = { seconds = 2.0 }")
    for key, value in table.items():
        if not _ARG.match(key):
            raise _wrong(name, f"args.{key}: not a name", "use small letters, digits and underscores")
        if not isinstance(value, (bool, int, float, str)):
            raise _wrong(name, f"args.{key}: its default is not a number, text or boolean", "give one value")
    return dict(table)


def _metrics(table: object, name: str) -> tuple[Metric, ...]:
    if not isinstance(table, dict):
        raise _wrong(name, "metrics is not a table", 'write: [metrics."cpu.rate"]')
    return tuple(_metric(key, value, name) for key, value in table.items())


def _metric(key: str, value: object, name: str) -> Metric:
    if not METRIC.match(key):
        raise _wrong(name, f"metrics.{key}: not a dotted name", "use small letters, digits, '_' and '.'")
    if not isinstance(value, dict) or not isinstance(value.get("unit"), str):
        raise _wrong(name, f"metrics.{key}: has no unit", f'write the name in quotes: [metrics."{key}"]')
    extra = set(value) - {"unit", "better"}
    better = value.get("better", "none")
    if extra or better not in _BETTER:
        wrong = f"'{min(extra)}' is unknown" if extra else f"better is '{better}'"
        raise _wrong(name, f"metrics.{key}: {wrong}", f"better is one of: {', '.join(_BETTER)}")
    return Metric(key, value["unit"], cast(Literal["higher", "lower", "none"], better))


def _words(table: Mapping[str, Any], key: str, name: str, fix: str) -> tuple[str, ...]:
    words = table.get(key, [])
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise _wrong(name, f"{key} is not a list of words", fix)
    return tuple(words)


def _text(table: Mapping[str, Any], key: str, name: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise _wrong(name, f"{key} is missing or not a text", f'add: {key} = "…"')
    return value


def _wrong(name: str, what: str, fix: str) -> SuiteError:
    return SuiteError(f"workload {name}: {what}", fix=fix)


# --- the command line --------------------------------------------------------------------------


def argv(workload: Workload, directory_inside: str, args: Mapping[str, Scalar]) -> list[str]:
    """The command that runs the workload inside a sandbox that has the programs at `directory_inside`.

    Every argument is passed, the workload's defaults first. The file is found by its name below
    `root()`. UsageError where an argument is unknown or not of the default's kind.
    """
    source = path(workload.name)
    if source.suffix == ".c":
        return command(workload, f"{COMPILED}/{binary(workload.name)}", args)
    return command(workload, f"{directory_inside.rstrip('/')}/{workload.area}/{source.name}", args)


def server(workload: Workload, directory_inside: str, args: Mapping[str, Scalar], address: str) -> list[str]:
    """The command of the server that a client of the workload visits, listening at HOST:PORT or at a path.

    That is the one it declares, or else the program itself as the server, with the client's arguments.
    """
    host, _, port = address.rpartition(":")
    if workload.server:
        return [word.format(host=host, port=port) for word in workload.server]
    return argv(workload, directory_inside, {**args, "role": "server", "address": address})


def binary(name: str) -> str:
    """What the binary of a workload that is a C source is called."""
    return name.replace("/", "-")


def command(workload: Workload, program: str, args: Mapping[str, Scalar]) -> list[str]:
    """The command that runs `program`, wherever it is, with those arguments over the defaults."""
    check_args(workload, args)
    merged = {**workload.args, **args}
    return [*workload.interpreter, program, *(f"--{key}={_spell(value)}" for key, value in merged.items())]


def check_args(workload: Workload, args: Mapping[str, Scalar]) -> None:
    """Raise UsageError where an argument is unknown to the workload or not of its default's kind."""
    for key, value in args.items():
        if key not in workload.args:
            raise UsageError(
                f"workload {workload.name} has no argument '{key}'{nearest(key, workload.args)}",
                fix=f"its arguments are: {', '.join(workload.args) or 'none'}",
            )
        default = workload.args[key]
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(default, str):
            fits = True
        elif isinstance(default, bool):
            fits = isinstance(value, bool)
        elif isinstance(default, int):
            fits = whole and not isinstance(value, bool)
        else:
            fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not fits:
            kind = {bool: "true or false", int: "a whole number"}.get(type(default), "a number")
            raise UsageError(
                f"workload {workload.name}: {key}={value!r} is not {kind}",
                fix=f"its default is {key}={default!r}",
            )


def _spell(value: Scalar) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
