"""tools/check's own checks: each kind of fault is found, and what is right is left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.architecture import check_all, public_names, read_modules

if TYPE_CHECKING:
    from pathlib import Path

DOC = '"""Docstring."""\n'


def faults(root: Path, files: dict[str, str]) -> list[str]:
    for name, text in files.items():
        path = root / "securecoap" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(DOC + text)
        for front in path.relative_to(root).parents[:-1]:
            init = root / front / "__init__.py"
            if not init.exists():
                init.write_text(DOC)
    return [fault.text for fault in check_all(root)]


def test_what_is_right(tmp_path: Path) -> None:
    files = {
        "wire/codes.py": "import enum\n",
        "core/tokens.py": "from securecoap.wire import codes\nfrom securecoap.errors import X\n",
        "errors.py": "X = 1\n",
        "cli/get.py": "import securecoap\ndef f() -> None:\n    'Doc.'\n    from securecoap.core import tokens\n",
        "context.py": "from securecoap.core.tokens import codes\n",
    }
    assert faults(tmp_path, files) == []


@pytest.mark.parametrize(
    ("module", "text", "found"),
    [
        ("wire/a.py", "from securecoap.core import x\n", "wire must not import securecoap.core"),
        ("wire/a.py", "from ..core import x\n", "wire must not import securecoap.core"),
        ("core/a.py", "import securecoap.dtls.b\n", "core must not import securecoap.dtls.b"),
        ("dtls/a.py", "from securecoap import oscore\n", "dtls must not import securecoap.oscore"),
        ("resources/a.py", "from securecoap.transports import x\n", "resources must not import securecoap.transports"),
        ("core/a.py", "from securecoap import Context\n", "core must not import securecoap"),
        ("elsewhere.py", "", "elsewhere is no room"),
        ("core/a.py", "import socket\n", "free of IO"),
        ("wire/a.py", "import asyncio\n", "free of IO"),
        ("wire/a.py", "import socket\nsocket.socket()\n", "free of IO"),
        ("oscore/a.py", "open('x')\n", "no open()"),
        ("core/a.py", "def f(): pass\n", "f: public function without docstring"),
        ("core/a.py", "class C: pass\n", "C: public class without docstring"),
        ("core/a.py", "class C:\n    'Doc.'\n    def f(self): pass\n", "C.f: public method without docstring"),
        ("core/a.py", "#\n" * 400, "401 lines"),
        ("core/a.py", "x = 1  # FIXME\n", "FIXME that does not say"),
        ("core/a.py", "x = 1  # type: ignore\n", "silences everything"),
        ("core/a.py", "x = 1  # noqa: E501\n", "without its reason"),
        ("core/a.py", "def (\n", "does not parse"),
    ],
)
def test_what_is_wrong(tmp_path: Path, module: str, text: str, found: str) -> None:
    here = faults(tmp_path, {module: text, "oscore/b.py": "", "dtls/b.py": "", "core/b.py": "", "transports/b.py": ""})
    assert any(found in fault for fault in here), here


def test_a_module_without_docstring(tmp_path: Path) -> None:
    faults(tmp_path, {"wire/a.py": ""})
    (tmp_path / "securecoap" / "wire" / "a.py").write_text("x = 1\n")
    assert [fault.text for fault in check_all(tmp_path)] == ["module without docstring"]


def test_circles(tmp_path: Path) -> None:
    files = {"core/a.py": "from securecoap.core import b\n", "core/b.py": "from securecoap.core import a\n"}
    assert any(fault.startswith("circle: ") for fault in faults(tmp_path, files))


def test_a_function_level_import_must_not_hide_a_circle(tmp_path: Path) -> None:
    back = "def f() -> None:\n    'Doc.'\n    from securecoap.core import b  # for no good reason\n"
    files = {"core/a.py": back, "core/b.py": "from securecoap.core import a\n"}
    assert any("hides a circle" in fault for fault in faults(tmp_path, files))


def test_a_function_level_import_says_why(tmp_path: Path) -> None:
    lazy = "def f() -> None:\n    'Doc.'\n    from securecoap.core import b"
    assert any("say beside it why" in fault for fault in faults(tmp_path, {"core/a.py": f"{lazy}\n", "core/b.py": ""}))
    assert faults(tmp_path, {"core/a.py": f"{lazy}  # noqa: PLC0415  # b loads a heavy library\n"}) == []


def test_methods_inherit_documentation(tmp_path: Path) -> None:
    base = "class Base:\n    'Doc.'\n    def f(self):\n        'Doc.'\n"
    heir = "from securecoap.core.a import Base\nclass Heir(Base):\n    'Doc.'\n    def f(self): pass\n"
    seam = "class Seam:\n    'Doc.'\n    def send(self):\n        'Doc.'\n"
    user = "class User:\n    'Doc.'\n    def send(self): pass\n"
    files = {"core/a.py": base, "core/b.py": heir, "interfaces.py": seam, "core/c.py": user}
    assert faults(tmp_path, files) == []


def test_public_names(tmp_path: Path) -> None:
    faults(tmp_path, {"errors.py": "__all__ = ['CoapError']\n", "wire/codes.py": "__all__ = ['Code']\n"})
    (tmp_path / "securecoap" / "__init__.py").write_text(DOC + "__all__ = ['Context']\n")
    (tmp_path / "securecoap" / "wire" / "__init__.py").write_text(DOC + "__all__ = ['Message']\n")
    names = public_names(read_modules(tmp_path)[0])
    assert names == ["securecoap.Context", "securecoap.errors.CoapError", "securecoap.wire.Message"]
