"""Paths to resources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.resources import Resource, Site, WellKnownCore
from tests.resources.fakes import route

if TYPE_CHECKING:
    from securecoap.interfaces import ResourceTree

A, B, C, D = Resource(), Resource(), Resource(), Resource()


def test_literal_paths() -> None:
    site: ResourceTree = Site()
    assert isinstance(site, Site)
    site.add("/", A)
    site.add("/temperature", B)
    site.add("/a/b", C)
    assert route(site) == (A, {})
    assert route(site, "temperature") == (B, {})
    assert route(site, "a", "b") == (C, {})
    for path in [("a",), ("b",), ("a", "b", "c"), ("",), ("a", ""), ("a/b",), ("Temperature",), ("{name}",)]:
        assert site.find(path) is None


def test_no_parameters_are_one_mapping_that_cannot_be_changed() -> None:
    site = Site()
    site.add("/a", A)
    site.add("/b", B)
    first, second = site.find(("a",)), site.find(("b",))
    assert first is not None
    assert second is not None
    assert first[1] is second[1]
    with pytest.raises(TypeError):
        first[1]["x"] = "y"  # type: ignore[index]
    assert site.find(("a",)) is first


def test_a_trailing_slash_is_another_path() -> None:
    site = Site()
    site.add("/x", A)
    site.add("/x/", B)
    site.add("//", C)
    assert route(site, "x")[0] is A
    assert route(site, "x", "")[0] is B
    assert route(site, "", "")[0] is C
    assert site.find(()) is None
    assert site.find(("",)) is None


def test_segments_are_just_text() -> None:
    site = Site()
    site.add(("a/b",), A)
    site.add("/a/b", B)
    site.add(("{name}",), C)
    site.add("/n\0l", D)
    site.add("/caf%C3%A9", D)
    assert route(site, "a/b")[0] is A
    assert route(site, "a", "b")[0] is B
    assert route(site, "{name}") == (C, {})
    assert route(site, "n\0l")[0] is D
    assert site.find(("café",)) is None
    assert site.find(("n",)) is None


def test_templates() -> None:
    site = Site()
    site.add("/store/{name}", A)
    site.add("/{a}/x/{b}", B)
    assert route(site, "store", "k") == (A, {"name": "k"})
    assert route(site, "store", "k/{l}") == (A, {"name": "k/{l}"})
    assert route(site, "1", "x", "2") == (B, {"a": "1", "b": "2"})
    for path in [("store",), ("store", ""), ("store", "k", ""), ("store", "k", "l"), ("1", "x", ""), ("", "x", "2")]:
        assert site.find(path) is None


def test_literal_segments_win_and_templates_take_the_rest() -> None:
    site = Site()
    site.add("/{x}/{y}", A)
    site.add("/a/{y}", B)
    site.add("/{x}/b", C)
    site.add("/a/b", D)
    assert route(site, "a", "b")[0] is D
    assert route(site, "a", "z") == (B, {"y": "z"})
    assert route(site, "z", "b") == (C, {"x": "z"})
    assert route(site, "z", "z") == (A, {"x": "z", "y": "z"})
    site.add("/a/{y}/c", A)
    site.add("/{x}/b/d", B)
    assert route(site, "a", "b", "d") == (B, {"x": "a"})  # back from /a/{y}


def test_templates_at_one_place_may_have_several_names() -> None:
    site = Site()
    site.add("/store/{name}", A)
    site.add("/store/{key}/meta", B)
    assert route(site, "store", "k") == (A, {"name": "k"})
    assert route(site, "store", "k", "meta") == (B, {"key": "k"})


def test_nested_sites() -> None:
    site, devices, deepest = Site(), Site(), Site()
    devices.add("/", A)
    devices.add("/status", B)
    devices.add("/slots/{slot}", C)
    deepest.add("/{slot}", D)
    devices.add("/deep", deepest)
    site.add("/devices/{id}", devices)
    assert route(site, "devices", "7") == (A, {"id": "7"})
    assert route(site, "devices", "7", "status") == (B, {"id": "7"})
    assert route(site, "devices", "7", "slots", "2") == (C, {"id": "7", "slot": "2"})
    assert route(site, "devices", "7", "deep", "3") == (D, {"id": "7", "slot": "3"})
    assert site.find(("devices", "7", "nothing")) is None
    assert site.find(("devices",)) is None
    devices.add("/late", D)
    assert route(site, "devices", "8", "late") == (D, {"id": "8"})


def test_what_is_below_a_nested_site() -> None:
    site, nested = Site(), Site()
    nested.add("/a", A)
    nested.add("/b", A)
    nested.add("/c", A)
    site.add("/sub", nested)
    site.add("/sub/a", B)
    site.add("/sub/{name}", C)
    assert route(site, "sub", "a") == (B, {})
    assert route(site, "sub", "b") == (C, {"name": "b"})  # the first segment that differs: a template before the tree
    other = Site()
    other.add("/", nested)
    assert route(other, "a") == (A, {})


def test_other_trees() -> None:
    class Files:
        def __init__(self) -> None:
            self.asked: list[tuple[str, ...]] = []

        def find(self, path: tuple[str, ...]) -> Any:
            self.asked.append(path)
            return None if path == ("missing",) else (A, {"file": "/".join(path)})

    files, site = Files(), Site()
    site.add("/files", files)
    site.add("/of/{user}", files)
    assert route(site, "files", "x", "y") == (A, {"file": "x/y"})
    assert route(site, "of", "me", "x") == (A, {"user": "me", "file": "x"})
    assert route(site, "files") == (A, {"file": ""})
    assert site.find(("files", "missing")) is None
    assert files.asked == [("x", "y"), ("x",), (), ("missing",)]


def test_well_known_core_is_there_by_itself() -> None:
    site, nested = Site(), Site()
    site.add("/sub", nested)
    assert isinstance(route(site, ".well-known", "core")[0], WellKnownCore)
    assert site.find((".well-known",)) is None
    assert site.find(("sub", ".well-known", "core")) is None
    site.add("/{a}/{b}", A)
    resource, parameters = route(site, ".well-known", "core")
    assert isinstance(resource, WellKnownCore)
    assert parameters == {}


@pytest.mark.parametrize("path", ["/", "/.well-known"])
def test_a_site_may_have_its_own_well_known_core(path: str) -> None:
    site = Site()
    site.add("/.well-known/core", A)
    assert route(site, ".well-known", "core") == (A, {})
    outer, inner = Site(), Site()
    inner.add("/.well-known/core" if path == "/" else "/core", A)
    outer.add(path, inner)
    assert route(outer, ".well-known", "core") == (A, {})


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a",
        "a/b",
        "/{a}/{a}",
        "/x{a}",
        "/{a",
        "/a}",
        "/{}",
        "/{1a}",
        "/{a.b}",
        "/.",
        "/a/..",
        "/" + "x" * 256,
        (".",),
    ],
)
def test_paths_that_cannot_be(path: Any) -> None:
    with pytest.raises(ValueError):
        Site().add(path, A)


def test_the_longest_segment() -> None:
    site = Site()
    site.add("/" + "é" * 127 + "x", A)
    with pytest.raises(ValueError):
        site.add("/" + "é" * 128, A)


@pytest.mark.parametrize(
    ("first", "second"),
    [("/a", "/a"), ("/", "/"), ("/{a}", "/{a}"), ("/{a}", "/{b}"), ("/{a}/x", "/{b}/x"), ("/a", ("a",))],
)
@pytest.mark.parametrize("resource", [A, Site()])
def test_a_path_is_taken_once(first: str, second: Any, resource: Any) -> None:
    site = Site()
    site.add(first, A)
    with pytest.raises(ValueError, match="taken"):
        site.add(second, resource)


@pytest.mark.parametrize("thing", [Resource, Site, None, 17])
def test_what_is_no_resource(thing: Any) -> None:
    with pytest.raises(TypeError):
        Site().add("/a", thing)


def test_faulty_link_attributes_show_at_once() -> None:
    site = Site()
    with pytest.raises(ValueError):
        site.add("/a", A, attributes={"not a name": "x"})
    with pytest.raises(ValueError):
        site.add("/a", A, title="line\x00break")
    with pytest.raises(ValueError, match="tree"):
        site.add("/a", Site(), rt="x")
    assert site.find(("a",)) is None


def test_no_site_within_itself() -> None:
    outer, inner = Site(), Site()
    with pytest.raises(ValueError):
        outer.add("/a", outer)
    outer.add("/x", A)
    outer.add("/inner", inner)
    with pytest.raises(ValueError):
        inner.add("/outer", outer)


def test_remove() -> None:
    site = Site()
    site.add("/a/b", A)
    site.add("/a/{c}/d", B)
    site.add("/a", C)
    site.add("/sub", Site())
    site.remove("/a/b")
    assert site.find(("a", "b")) is None
    assert route(site, "a")[0] is C
    with pytest.raises(KeyError):
        site.remove("/a/b")
    with pytest.raises(KeyError):
        site.remove("/a/{other}/d")
    site.remove("/a/{c}/d")
    site.remove(("a",))
    site.remove("/sub")
    assert site._root.is_empty
    assert site.links() == ()
    site.add("/", A)
    site.remove("/")
    assert site.find(()) is None
    site.add("/a/b", D)
    assert route(site, "a", "b")[0] is D


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["a", "b", "{x}", ""])), unique=True), st.data())
def test_what_was_removed_leaves_no_trace(paths: list[tuple[str, str]], data: st.DataObject) -> None:
    site = Site()
    added = {f"/{first}/{second}": Resource() for first, second in paths}
    for path, resource in added.items():
        site.add(path, resource)
    for path in data.draw(st.permutations(list(added))):
        found = site.find(tuple("t" if segment == "{x}" else segment for segment in path[1:].split("/")))
        assert found is not None
        assert found[0] is added[path]
        site.remove(path)
    assert site._root.is_empty
    assert not site._exact


@given(st.lists(st.text()))
def test_any_path_is_found_or_not(path: list[str]) -> None:
    site, nested = Site(), Site()
    nested.add("/{a}/b", A)
    site.add("/{x}", A)
    site.add("/{x}/{y}/z", B)
    site.add("/nested", nested)
    found = site.find(tuple(path))
    assert found is None or isinstance(found[0], Resource)
