"""Objects that are made without a constructor, because each message has one, lack no attribute.

A type checker believes what a class declares, and says nothing where the function that makes it forgets one.
"""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import securecoap

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(securecoap.__file__).parent
MAKES = ("_new", "__new__")
LATER = {
    # Nobody asks before they are there: it has them from its first sending, and from its time-out on.
    "Outgoing": {"mid", "begun_at", "retransmissions", "gives_up_at"},
}


def made(module: Any, source: str) -> Iterator[tuple[str, type, set[str]]]:
    """Each class of which the module makes objects without a constructor: where, and the slots that are not set."""
    tree = ast.parse(source)
    for scope in [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]:
        for function in (node for node in scope.body if isinstance(node, ast.FunctionDef)):
            for name, cls, has in _makings(function, module, scope):
                missing = _slots(cls) - has - _assigned(function, name, cls) - LATER.get(cls.__name__, set())
                yield f"{module.__name__}.{function.name}", cls, missing


def _makings(function: ast.FunctionDef, module: Any, scope: ast.AST) -> Iterator[tuple[str, type, set[str]]]:
    """Variables, the class of what is put there without a constructor, and what that has from the beginning."""
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        call, target = node.value, node.targets[-1]
        if not isinstance(target, ast.Name):
            continue
        called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        known = getattr(module, called, None)
        if called in MAKES:
            what = call.args[0]
            named = [what.body, what.orelse] if isinstance(what, ast.IfExp) else [what]
            names = [one.id for one in named if isinstance(one, ast.Name)]
            for name in names:
                cls = getattr(module, getattr(scope, "name", "") if name == "cls" else name, None)
                if isinstance(cls, type) and not issubclass(cls, tuple):
                    yield target.id, cls, set()
        elif inspect.ismethod(known) and isinstance(cls := known.__self__, type):
            # A class method, inherited by one with more slots than it knows of.
            yield target.id, cls, _slots(next(one for one in cls.__mro__ if known.__name__ in vars(one)))
        elif isinstance(known, type) and _has_none(known):
            yield target.id, known, set()


def _has_none(cls: type) -> bool:
    has_one = any("__init__" in vars(one) for one in cls.__mro__[:-1])
    return not has_one and cls.__module__.startswith("securecoap") and bool(_slots(cls))


def _slots(cls: type) -> set[str]:
    found: set[str] = set()
    for one in cls.__mro__:
        own = one.__dict__.get("__slots__", ())
        found.update((own,) if isinstance(own, str) else own)
    return found - {"__weakref__", "__dict__"}


def _assigned(function: ast.FunctionDef, name: str, cls: type) -> set[str]:
    """What the function sets of the object, itself or by a method of it."""
    found: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name:
            if isinstance(node.ctx, ast.Store):
                found.add(node.attr)
            elif callable(method := getattr(cls, node.attr, None)) and inspect.isfunction(method):
                body = ast.parse(inspect.cleandoc("\n" + inspect.getsource(method))).body[0]
                if isinstance(body, ast.FunctionDef):
                    found |= _assigned(body, "self", cls)
    return found


def makings() -> list[tuple[str, type, set[str]]]:
    """All of the package."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        name = ".".join(("securecoap", *path.relative_to(ROOT).with_suffix("").parts))
        if path.name != "__init__.py" and ("__new__" in source or "__slots__" in source):
            found += made(import_module(name), source)
    return found


@pytest.mark.parametrize(("where", "cls", "missing"), [pytest.param(*one, id=one[0]) for one in makings()])
def test_every_slot_is_set(where, cls, missing):
    assert not missing, f"{where} makes a {cls.__name__} without {sorted(missing)}"


def test_all_that_are_made_so_are_seen():
    assert {cls.__name__ for _, cls, _ in makings()} >= {
        "IncomingExchange", "IncomingRequest", "Message", "Notification", "Observation", "Options", "OscoreSlot", "Outgoing",
        "OutgoingRequest", "Peer", "PlainRequest", "QuietRequest", "UdpAddress",
    }  # fmt: skip


class Sample:
    """As one of the package."""

    __module__ = "securecoap.sample"
    __slots__ = ("there", "unset")


@pytest.mark.parametrize("making", ["Sample()", "_new(Sample)", "Sample.__new__(Sample)"])
def test_one_that_is_forgotten_is_found(making):
    module = SimpleNamespace(__name__="sample", Sample=Sample)
    source = f"def make():\n    sample = {making}\n    sample.there = 1\n    return sample\n"
    (found,) = made(module, source)
    assert found[1:] == (Sample, {"unset"})
