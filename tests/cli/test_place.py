"""Where a shell is: references, links and what a word that was begun may become."""

from __future__ import annotations

import pytest

from securecoap.cli.place import Place
from securecoap.errors import FormatError, UriError

SERVER = "coap://[::1]:7"
LINKS = b'</a>;title="An A",</s/one>;rt=x,</s/two/deep>,</s>,<coap://other/b>,<//[::1]:7/c>,<http://h/>,</%C3%A4>'


@pytest.fixture
def place():
    place = Place(SERVER)
    assert place.learn(SERVER, LINKS) == 6
    return place


@pytest.mark.parametrize(
    ("reference", "uri"),
    [
        ("", "coap://h/s/t"),
        (".", "coap://h/s/t"),
        ("..", "coap://h/s"),
        ("../..", "coap://h"),
        ("../../..", "coap://h"),
        ("u", "coap://h/s/t/u"),
        ("u/", "coap://h/s/t/u/"),
        ("../u", "coap://h/s/u"),
        ("/u", "coap://h/u"),
        ("/", "coap://h/"),
        ("?a=b", "coap://h/s/t?a=b"),
        ("u?a=b", "coap://h/s/t/u?a=b"),
        ("a:b", "coap://h/s/t/a:b"),
        ("coaps://g/x", "coaps://g/x"),
    ],
)
def test_references(reference, uri):
    assert Place("coap://h/s/t").resolve(reference) == uri


@pytest.mark.parametrize("start", ["coap://h/s/t", "coap://h/s/t/", "coap://H:5683/s/./t"])
def test_a_place_has_no_slash_at_its_end(start):
    assert Place(start).uri == "coap://h/s/t"
    assert Place("coap://h/").uri == "coap://h"


@pytest.mark.parametrize(
    ("links", "start", "reference", "uri"),
    [
        # Not asked: as it was written.
        (b"", "coap://h/d/", "", "coap://h/d/"),
        (b"", "coap://h/d/", ".", "coap://h/d/"),
        (b"", "coap://h/d/", "?a", "coap://h/d/?a"),
        (b"", "coap://h/d/", "x", "coap://h/d/x"),
        (b"", "coap://h/d/e/", "..", "coap://h/d"),
        (b"", "coap://h/d", "", "coap://h/d"),
        (b"", "coap://h/", "", "coap://h"),
        (b"</other>", "coap://h/d/", "", "coap://h/d/"),
        # As it is listed, however one came there.
        (b"</d/>", "coap://h/d", "", "coap://h/d/"),
        (b"</d/>", "coap://h/d", "?a", "coap://h/d/?a"),
        (b"</d/>,</d/e>", "coap://h/d/e", "..", "coap://h/d/"),
        (b"</d/>", "coap://h:5683/d/", ".", "coap://h/d/"),
        (b"</d>", "coap://h/d/", "", "coap://h/d"),
        (b"</d>,</d/>", "coap://h/d/", "", "coap://h/d/"),
        (b"</d>,</d/>", "coap://h/d", "", "coap://h/d"),
    ],
)
def test_the_slash_of_a_place_is_that_of_its_resource(links, start, reference, uri):
    place = Place("coap://h")
    if links:
        place.learn("coap://h", links)
    place.go(start)
    assert place.resolve(reference) == uri
    assert not place.uri.endswith("/")


def test_back_to_a_directory(place):
    place.learn(SERVER, b"</d/>,</d/e/>")
    place.go("d/e")
    place.go("..")
    assert place.resolve() == f"{SERVER}/d/"


def test_without_a_server_only_uris_mean_something():
    place = Place()
    assert place.uri is None
    assert place.resolve("coap://h/x") == "coap://h/x"
    with pytest.raises(UriError, match="cd coap://HOST"):
        place.resolve("x")
    assert place.candidates("coap") == [("coap://", ""), ("coaps://", "")]
    assert place.candidates("x") == []


@pytest.mark.parametrize("reference", ["?a", "http://h/", "a b", "x#f"])
def test_no_place(place, reference):
    with pytest.raises(UriError):
        place.go(reference)
    assert place.uri == SERVER


def test_candidates_go_a_segment_further(place):
    assert place.candidates("") == [("%C3%A4", ""), ("a", "An A"), ("c", ""), ("s", ""), ("s/", "")]
    assert place.candidates("s/") == [("s/one", "x"), ("s/two/", "")]
    assert place.candidates("s/t") == [("s/two/", "")]
    assert place.candidates("/s/two/") == [("/s/two/deep", "")]
    assert place.candidates(f"{SERVER}/s/o") == [(f"{SERVER}/s/one", "x")]
    assert place.candidates("", places_only=True) == [("s/", "")]
    assert place.candidates("nothing") == []
    place.go("s")
    assert place.candidates("t") == [("two/", "")]
    assert place.candidates("../a") == [("../a", "An A")]


def test_what_is_below(place):
    assert [name for name, _ in place.below("s")] == [".", "one", "two/deep"]
    assert place.below("nothing") == []


def test_each_server_has_its_own_resources(place):
    place.go("coap://[::1]:8")
    assert not place.is_known("coap://[::1]:8")
    assert place.candidates("") == []
    place.learn_nothing("coap://[::1]:8")
    assert place.is_known("coap://[::1]:8")
    place.learn_nothing(SERVER)
    place.go(SERVER)
    assert place.candidates("a") == [("a", "An A")]


def test_what_is_no_link_format(place):
    with pytest.raises(FormatError):
        place.learn(SERVER, b"no links")


def test_what_lists_others():
    place = Place(SERVER)
    place.learn(SERVER, b'</d/>;ct=40,</x>;ct="0 40",</y>;ct=50,</d/known>')
    found = place.directories("/d/e/f")
    assert next(found) == (f"{SERVER}/d/", False)
    place.learn_directory(f"{SERVER}/d/", b"</d/e/>;ct=40,<rel>,<coap://other/z>")
    assert next(found) == (f"{SERVER}/d/e/", False)
    assert next(found, None) is None
    assert [name for name, _ in place.below("/d")] == [".", "e/", "known", "rel"]
    assert list(place.directories("/x")) == [(f"{SERVER}/x", False)]
    assert list(place.directories("/y")) == []
    place.learn_directory(f"{SERVER}/d/", b"")
    assert [name for name, _ in place.below("/d")] == [".", "known"]
    assert place.resolve("d") == f"{SERVER}/d"
    with pytest.raises(FormatError):
        place.learn_directory(f"{SERVER}/d/", b"\xff")
