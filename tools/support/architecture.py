"""What ruff and mypy do not see: import direction, hidden circles, IO in the core, public names, docstrings, length.

Works on source text alone (``ast``), so that a fault in the code cannot keep its check from running. Knows the rooms
of securecoap and their order, and nothing of what they do.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Fault", "Module", "check_all", "public_names", "read_modules"]

PACKAGE = "securecoap"
LONGEST_MODULE = 400

# A room may import from rooms of a lower rank. Within one rank only the pairs below may.
RANKS = {
    "errors": 0, "config": 0, "collection": 0, "events": 0,
    "wire": 1,
    "travelling": 2, "interfaces": 2,
    "clock": 3, "credentials": 3,
    "core": 4, "oscore": 4, "dtls": 4, "state": 4, "access": 4, "expiry": 4,
    "edhoc": 5, "tracing": 5, "derivation": 5, "companions": 5, "sightings": 5,
    "transports": 6, "resources": 6, "keyring": 6, "security_contexts": 6, "binds": 6, "streaming": 6, "calls": 6,
    "settings": 6, "saved_sessions": 6, "workers": 6,
    "stacks": 7, "reloading": 7, "statistics": 7, "context": 7,
    "cli": 8,
    "__main__": 9,
    "__init__": 9,
}  # fmt: skip
SAME_RANK = {
    ("config", "errors"), ("events", "config"), ("oscore", "state"), ("dtls", "state"), ("core", "state"),
    ("interfaces", "travelling"),
    ("calls", "streaming"), ("companions", "derivation"),
    ("context", "stacks"), ("keyring", "security_contexts"), ("context", "reloading"), ("reloading", "stacks"),
    ("context", "statistics"), ("statistics", "stacks"),
    ("saved_sessions", "settings"), ("settings", "workers"), ("workers", "transports"), ("workers", "resources"),
}  # fmt: skip

# The rooms that are free of IO: time, timers, randomness and bytes are handed in.
PURE = {"errors", "config", "events", "wire", "travelling", "interfaces", "core", "oscore", "dtls", "edhoc"}
IO_MODULES = {"socket", "ssl", "sqlite3", "subprocess", "tempfile", "select", "selectors", "pathlib", "shutil", "fcntl"}
IO_CALLS = {"open", "print", "input"}
NO_TIME = {"wire"}
TIME_MODULES = {"asyncio", "time", "random", "threading"}

_UNFINISHED = re.compile(r"\b(FIXME|TODO|XXX|HACK)\b[\s:]*(.*)")
_SILENCED = re.compile(r"#\s*(type:\s*ignore|noqa|mypy:)(\[[\w, -]+\]|:\s*[A-Z]+[0-9]+(?:,\s*[A-Z]+[0-9]+)*)?(.*)")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to mend: where, and what."""

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


@dataclass(frozen=True, slots=True)
class Import:
    """One import of a securecoap module. ``static`` is false inside a function and under ``TYPE_CHECKING``."""

    target: str
    line: int
    in_function: bool
    typing_only: bool


@dataclass(slots=True)
class Module:
    """One source file."""

    name: str
    path: Path
    text: str
    tree: ast.Module
    imports: list[Import] = field(default_factory=list)
    foreign: list[tuple[str, int]] = field(default_factory=list)

    @property
    def room(self) -> str:
        """The part of the package that RANKS knows."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else "__init__"


def read_modules(root: Path) -> tuple[dict[str, Module], list[Fault]]:
    """Parse every module of the package that stands in ``root``."""
    modules: dict[str, Module] = {}
    faults = []
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        try:
            tree = ast.parse(text)
        except SyntaxError as error:
            faults.append(Fault(path, error.lineno or 0, f"does not parse: {error.msg}"))
            continue
        modules[name] = Module(name, path, text, tree)
    for module in modules.values():
        _collect_imports(module, modules)
    return modules, faults


def check_all(root: Path) -> list[Fault]:
    """Every fault of the package under ``root``, and unfinished places of the whole repository."""
    modules, faults = read_modules(root)
    faults += _direction(modules)
    faults += _circles(modules)
    faults += _hidden(modules)
    faults += _purity(modules)
    faults += _docstrings(modules)
    faults += _length(modules)
    for path in sorted([*root.glob(f"{PACKAGE}/**/*.py"), *root.glob("tests/**/*.py"), *root.glob("tools/**/*.py")]):
        faults += _unfinished(path, strict=path.is_relative_to(root / PACKAGE))
    return faults


def public_names(modules: dict[str, Module]) -> list[str]:
    """``module.name`` for each name that the package, errors, config, interfaces and each room's front offer."""
    names = []
    for name, module in modules.items():
        depth = name.count(".")
        if depth == 0 or (depth == 1 and module.room not in {"cli", "__main__"}):
            names += [f"{name}.{entry}" for entry in _declared_all(module)]
    return sorted(names)


def _collect_imports(module: Module, modules: dict[str, Module]) -> None:
    package = module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]

    def visit(node: ast.AST, *, in_function: bool, typing_only: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    note(alias.name, child.lineno, in_function=in_function, typing_only=typing_only)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    anchor = package.split(".")[: len(package.split(".")) - child.level + 1]
                    base = ".".join([*anchor, *([base] if base else [])])
                for alias in child.names:
                    full = f"{base}.{alias.name}"
                    note(
                        full if full in modules else base,
                        child.lineno,
                        in_function=in_function,
                        typing_only=typing_only,
                    )
            else:
                function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
                typing_block = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
                visit(child, in_function=in_function or function, typing_only=typing_only or typing_block)

    def note(target: str, line: int, *, in_function: bool, typing_only: bool) -> None:
        if target == PACKAGE or target.startswith(PACKAGE + "."):
            module.imports.append(Import(target, line, in_function, typing_only))
        elif not typing_only:
            module.foreign.append((target, line))

    visit(module.tree, in_function=False, typing_only=False)


def _room_of(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def _direction(modules: dict[str, Module]) -> list[Fault]:
    faults = []
    for module in modules.values():
        if module.room not in RANKS:
            faults.append(Fault(module.path, 1, f"{module.room} is no room that DESIGN names; add it to RANKS"))
            continue
        if module.room in {"__init__", "__main__"}:
            continue
        for item in module.imports:
            room = _room_of(item.target)
            if room == module.room or (room == "__init__" and module.room == "cli"):
                continue  # (the command line prints the version)
            allowed = RANKS.get(room, 99) < RANKS[module.room] or (module.room, room) in SAME_RANK
            if not allowed:
                faults.append(Fault(module.path, item.line, f"{module.room} must not import {item.target}"))
    return faults


def _circles(modules: dict[str, Module]) -> list[Fault]:
    """Circles of static imports between modules, one fault each."""
    graph = {
        name: [
            item for item in module.imports if not item.in_function and not item.typing_only and item.target in modules
        ]
        for name, module in modules.items()
    }
    faults: list[Fault] = []
    done: set[str] = set()

    def walk(name: str, trail: list[str]) -> None:
        for item in graph[name]:
            if item.target in trail:
                circle = [*trail[trail.index(item.target) :], item.target]
                if len(circle) > 2 or circle[0] != name:
                    faults.append(Fault(modules[name].path, item.line, f"circle: {' -> '.join(circle)}"))
            elif item.target not in done:
                walk(item.target, [*trail, item.target])
        done.add(name)

    for name in graph:
        if name not in done:
            walk(name, [name])
    return faults


def _hidden(modules: dict[str, Module]) -> list[Fault]:
    """Function-level imports inside the package.

    The command line may load what a command needs when it runs: nothing imports it, so no circle can hide there.
    Elsewhere one is allowed where a comment says why and the imported module does not lead back.
    """
    faults = []
    for module in modules.values():
        for item in module.imports:
            if not item.in_function or module.room in {"cli", "__main__"}:
                continue
            if module.name in _reachable(item.target, modules):
                faults.append(Fault(module.path, item.line, f"function-level import of {item.target} hides a circle"))
            elif not _says_why(module.text.splitlines(), item.line):
                text = f"function-level import of {item.target}: move it to the top, or say beside it why it is lazy"
                faults.append(Fault(module.path, item.line, text))
    return list(dict.fromkeys(faults))


def _reachable(start: str, modules: dict[str, Module]) -> set[str]:
    seen: set[str] = set()
    rest = [start]
    while rest:
        name = rest.pop()
        if name in seen or name not in modules:
            continue
        seen.add(name)
        rest += [item.target for item in modules[name].imports if not item.typing_only]
    return seen


def _purity(modules: dict[str, Module]) -> list[Fault]:
    faults = []
    for module in modules.values():
        if module.room not in PURE:
            continue
        banned = IO_MODULES | (TIME_MODULES if module.room in NO_TIME else {"time", "random"})
        for name, line in module.foreign:
            if name.split(".")[0] in banned and not (name == "socket" and _only_address_text(module)):
                faults.append(
                    Fault(module.path, line, f"{module.room} is free of IO, clocks and chance: no import of {name}")
                )
        faults += [
            Fault(module.path, node.lineno, f"{module.room} is free of IO: no {node.func.id}()")
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IO_CALLS
        ]
    return faults


def _only_address_text(module: Module) -> bool:
    """Whether it uses nothing of ``socket`` but the conversion of addresses."""
    used = {
        node.attr
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "socket"
    }
    return bool(used) and used <= {"AF_INET", "AF_INET6", "inet_ntop", "inet_pton"}


def _docstrings(modules: dict[str, Module]) -> list[Fault]:
    """Public modules, classes and functions without a docstring; a method inherits the one of what it implements."""
    documented: dict[str, set[str]] = {}
    for module in modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                names = {item.name for item in node.body if _is_function(item) and ast.get_docstring(item)}  # type: ignore[attr-defined, arg-type]  # _is_function has looked
                documented.setdefault(node.name, set()).update(names)
    bases = {
        node.name: [_base_name(base) for base in node.bases]
        for module in modules.values() for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)
    }  # fmt: skip
    seams: set[str] = set()
    for module in modules.values():
        if module.room in {"interfaces", "travelling"}:
            for node in module.tree.body:
                if isinstance(node, ast.ClassDef):
                    seams |= documented.get(node.name, set())

    def inherited(class_name: str, method: str, seen: frozenset[str] = frozenset()) -> bool:
        if class_name in seen:
            return False
        return any(
            method in documented.get(base, set()) or inherited(base, method, seen | {class_name})
            for base in bases.get(class_name, [])
        )

    faults = []
    for module in modules.values():
        if not ast.get_docstring(module.tree):
            faults.append(Fault(module.path, 1, "module without docstring"))
        for node in module.tree.body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and _needs_docstring(node):
                faults.append(Fault(module.path, node.lineno, f"{node.name}: public function without docstring"))
            elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                if not ast.get_docstring(node):
                    faults.append(Fault(module.path, node.lineno, f"{node.name}: public class without docstring"))
                for item in node.body:
                    if (
                        isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef))
                        and _needs_docstring(item)
                        and item.name not in seams
                        and not inherited(node.name, item.name)
                    ):
                        text = f"{node.name}.{item.name}: public method without docstring"
                        faults.append(Fault(module.path, item.lineno, text))
    return faults


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def _base_name(node: ast.expr) -> str:
    while isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _needs_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    if node.name.startswith("_") or ast.get_docstring(node):
        return False
    decorators = {_base_name(item.func if isinstance(item, ast.Call) else item) for item in node.decorator_list}
    return not decorators & {"overload", "setter", "deleter", "override"}


def _length(modules: dict[str, Module]) -> list[Fault]:
    return [
        Fault(module.path, LONGEST_MODULE, f"{count} lines; split it by RFC section (at most {LONGEST_MODULE})")
        for module in modules.values()
        if (count := len(module.text.splitlines())) > LONGEST_MODULE
    ]


def _unfinished(path: Path, *, strict: bool) -> list[Fault]:
    """FIXMEs that do not say what has to happen; in the package also silenced warnings without their reason."""
    if path.resolve() == Path(__file__).resolve():
        return []
    faults = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        comment = line.partition("#")[2]
        if (match := _UNFINISHED.search(comment)) and len(match[2]) < 12:
            faults.append(Fault(path, number, f"{match[1]} that does not say what would have to happen"))
        if strict and (match := _SILENCED.search(line)):
            if not match[2]:
                faults.append(Fault(path, number, f"'{match[1]}' without a code silences everything"))
            elif not _says_why(lines, number):
                faults.append(Fault(path, number, f"'{match[1]}' without its reason beside it"))
    return faults


def _says_why(lines: list[str], number: int) -> bool:
    """Whether a comment with words stands in this line, or in or above the imports that it follows."""
    at = number - 1
    while True:
        comment = _SILENCED.sub(lambda match: match[3], "".join(lines[at].partition("#")[1:]))
        if len(comment.strip(" #-:()")) >= 3:
            return True
        at -= 1
        if at < 0 or not re.match(r"\s*(from|import|#)", lines[at]):
            return False


def _declared_all(module: Module) -> list[str]:
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return list(ast.literal_eval(node.value))
    return []
