from __future__ import annotations

import sys

import pytest

from securecoap.cli.sites import SiteFault, load_site
from securecoap.resources import Site


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def fault(name):
    with pytest.raises(SiteFault) as caught:
        load_site(name)
    return str(caught.value)


def test_a_site_of_the_working_directory(here):
    (here / "house_a.py").write_text(
        "from securecoap.resources import Site\nclass Box:\n    inner = Site()\nsite = Site()\n"
    )
    assert isinstance(load_site("house_a:site"), Site)
    assert isinstance(load_site("house_a:Box.inner"), Site)


def test_a_site_within_a_package_on_the_path(here, monkeypatch):
    (here / "lib" / "house_b").mkdir(parents=True)
    (here / "lib" / "house_b" / "rooms.py").write_text("from securecoap.resources import Site\nsite = Site()\n")
    monkeypatch.syspath_prepend(here / "lib")
    assert isinstance(load_site("house_b.rooms:site"), Site)


@pytest.mark.parametrize(
    "name", ["house", "house:", ":site", "house.py:site", "a b:site", "../house:site", "a:b:c", ""]
)
def test_the_form_is_module_and_site(here, name):
    (here / "house.py").write_text("")
    assert "MODULE:SITE" in fault(name) or "no module" in fault(name)


def test_no_such_module(here):
    assert fault("house_c:site") == f"there is no module house_c, neither on PYTHONPATH nor in {here}"
    assert "no module house_c" in fault("house_c.rooms:site")


def test_a_module_whose_import_fails_says_where(here):
    (here / "house_d.py").write_text("\nimport not_there_at_all\n")
    text = fault("house_d:site")
    assert "house_d cannot be imported: ModuleNotFoundError: No module named 'not_there_at_all'" in text
    assert f"{here / 'house_d.py'}:2" in text
    (here / "house_e.py").write_text("1 / 0\n")
    assert "ZeroDivisionError" in fault("house_e:site")
    (here / "house_f.py").write_text("def\n")
    assert "SyntaxError" in fault("house_f:site")


def test_no_such_site_names_those_that_are_there(here):
    (here / "house_g.py").write_text("from securecoap.resources import Site\nkitchen = Site()\n")
    text = fault("house_g:site")
    assert "there is no site in" in text
    assert text.endswith("it has kitchen")


def test_what_is_no_site(here):
    (here / "house_h.py").write_text("from securecoap.resources import Site\nsite = 1\nmake = lambda: Site()\n")
    assert fault("house_h:site") == "house_h:site is no Site, but of type int"
    assert "assign it to a name" in fault("house_h:make")
    assert "make a Site object" in fault("house_h:Site")
