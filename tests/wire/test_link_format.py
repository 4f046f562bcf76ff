"""Link format and discovery filters (RFC 6690)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.errors import FormatError
from securecoap.wire import link_format
from securecoap.wire.link_format import Link, LinkFilter, filter_links, parse_filter, parse_links, write_links

_MESSAGES = json.loads((Path(__file__).parents[1] / "vectors" / "coap_messages.json").read_text(encoding="utf-8"))
_FILTERS = _MESSAGES["link_format_filters"]

_LINKS = parse_links(
    '</link1>;rt="Type1";if="If1";sz=10;ct=40,'
    '</link12>;rt="Type2 Type1";if="If2";ct="0 40",'
    '</other>;rt="Type10";if="other If9";ct=41,'
    "</bare>;obs,"
    '</sub/link1>;rt="type1";title="Type1 40"'
)
_EXPECTED = {
    "rt=Type1": ["/link1", "/link12"],
    "rt=*": ["/link1", "/link12", "/other", "/sub/link1"],
    "if=If*": ["/link1", "/link12", "/other"],
    "href=/link1": ["/link1"],
    "href=/link*": ["/link1", "/link12"],
    "sz=*": ["/link1"],
    "ct=40": ["/link1", "/link12"],
}


@pytest.mark.parametrize("entry", _MESSAGES["link_format_valid"], ids=lambda entry: entry["id"])
def test_valid(entry: dict[str, Any]) -> None:
    links = parse_links(entry["text"])
    assert [[link.target, dict(link.attributes)] for link in links] == entry["links"]
    assert parse_links(entry["text"].encode()) == links
    assert parse_links(write_links(links)) == links


@pytest.mark.parametrize("entry", _MESSAGES["link_format_invalid"], ids=lambda entry: entry["why"])
def test_invalid(entry: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        parse_links(entry["text"])


@pytest.mark.parametrize("entry", _FILTERS, ids=lambda entry: entry["query"])
def test_filter(entry: dict[str, Any]) -> None:
    assert [link.target for link in filter_links(_LINKS, [entry["query"]])] == _EXPECTED[entry["query"]]


@pytest.mark.parametrize(
    ("queries", "targets"),
    [
        ([], ["/link1", "/link12", "/other", "/bare", "/sub/link1"]),
        (["rt=Type1", "if=If2"], ["/link12"]),
        (["rt=Type"], []),
        (["rt=Type2 Type1"], []),
        (["rt=type1"], ["/sub/link1"]),
        (["title=Type1"], []),
        (["title=Type1 40"], ["/sub/link1"]),
        (["title=Type1*"], ["/sub/link1"]),
        (["obs"], ["/bare"]),
        (["obs=*"], ["/bare"]),
        (["obs="], ["/bare"]),
        (["obs=1"], []),
        (["ct"], ["/link1", "/link12", "/other"]),
        (["href=*"], ["/link1", "/link12", "/other", "/bare", "/sub/link1"]),
        (["href=link1"], []),
        (["absent=*"], []),
    ],
)
def test_more_filters(queries: list[str], targets: list[str]) -> None:
    assert [link.target for link in filter_links(_LINKS, queries)] == targets


@pytest.mark.parametrize("query", ["", "=", "=x", "*", "a b=c", "rt =x", '"', "\n"])
def test_what_is_no_filter(query: str) -> None:
    with pytest.raises(FormatError):
        filter_links(_LINKS, [query])


def test_parsed_filter() -> None:
    assert parse_filter("rt=a=b*") == LinkFilter("rt", "a=b", is_prefix=True)
    assert parse_filter("rt=a*b") == LinkFilter("rt", "a*b", is_prefix=False)
    assert parse_filter("title*=x") == LinkFilter("title*", "x", is_prefix=False)


@pytest.mark.parametrize(
    ("text", "links"),
    [
        (" \r\n", []),
        ("<>", [Link("")]),
        ("</a> ;rt=b ,\n </b> ; obs ", [Link("/a", (("rt", "b"),)), Link("/b", (("obs", None),))]),
        ('</a>;title=""', [Link("/a", (("title", ""),))]),
        ('</a>;title="\\\\\\a\t"', [Link("/a", (("title", "\\a\t"),))]),
        ("</a>;x=<y>", [Link("/a", (("x", "<y>"),))]),
        ("</a>;rt=b;rt=c", [Link("/a", (("rt", "b"),))]),
        ("</a>;hreflang=de;hreflang=en", [Link("/a", (("hreflang", "de"), ("hreflang", "en")))]),
        ("</a>;osc;osc", [Link("/a", (("osc", None),))]),
        ("</\u00fc>", [Link("/\u00fc")]),
    ],
)
def test_parsing(text: str, links: list[Link]) -> None:
    assert list(parse_links(text)) == links
    assert parse_links(text.encode()) == tuple(links)


@pytest.mark.parametrize(
    "text",
    [
        ",", ",</a>", "</a>,,</b>", "</a>;", "</a>;;rt=b", "</a>;rt=", "</a>;rt= b", "</a>;rt =b", '</a>;rt="b"c', '</a>;rt="b\\"',
        "</a>;rt=b\\c", "</a>x", "</a b>", "<</a>>", "</a>;\u00fc=1", "</a>;rt=\u00fc", '</a>;rt="\0"', "</a\n>", "</a>;title*x=1", "x",
    ],
)  # fmt: skip
def test_what_is_no_list_of_links(text: str) -> None:
    with pytest.raises(FormatError):
        parse_links(text)


def test_bytes_have_to_be_utf_8() -> None:
    with pytest.raises(FormatError, match="UTF-8"):
        parse_links(b"</\xff>")


def test_number_of_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_format, "MAXIMUM_LINKS", 3)
    assert len(parse_links("<>,<>,<>")) == 3
    with pytest.raises(FormatError, match="more than 3"):
        parse_links("<>,<>,<>,<>")


@pytest.mark.parametrize(
    "text",
    [
        "<" * 300_000,
        '</a>;x="' + "\\\\" * 200_000,
        '</a>;x="' + "a" * 300_000,
        "</a>" + " " * 300_000 + "x",
        "</a>;" + "a" * 300_000 + "\0",
        "</a>" + ";a" * 100_000 + ";",
    ],
    ids=["open", "escapes", "quote", "blanks", "name", "attributes"],
)
def test_long_hostile_text_is_refused(text: str) -> None:
    # with quadratic matching each of these would take minutes
    with pytest.raises(FormatError):
        parse_links(text)


def test_writing() -> None:
    link = Link(
        "/a",
        (
            ("rt", "t1 t2"),
            ("ct", "40"),
            ("sz", "8"),
            ("obs", None),
            ("title", '1 "x" \\'),
            ("if", "7"),
            ("title*", "UTF-8'en'%e2%82%ac"),
        ),
    )
    assert str(link) == '</a>;rt="t1 t2";ct=40;sz=8;obs;title="1 \\"x\\" \\\\";if="7";title*=UTF-8\'en\'%e2%82%ac'
    assert write_links([link, Link("/b")]) == f"{link},</b>"
    assert write_links([]) == ""
    assert str(Link("/a", (("ct", "0 41"),))) == '</a>;ct="0 41"'


@pytest.mark.parametrize(
    "link",
    [
        Link("a>"), Link("a b"), Link("\n"), Link("/a", (("", "x"),)), Link("/a", (("a=b", None),)), Link("/a", (("a\n", None),)),
        Link("/a", (("rt", "\0"),)), Link("/a", (("title*", "x"),)), Link("/a", (("title*", "UTF-8''\"x"),)),
    ],
)  # fmt: skip
def test_what_cannot_be_written(link: Link) -> None:
    with pytest.raises(FormatError):
        write_links([link])


def test_creation_from_plain_values() -> None:
    link = Link.create("/t", {"rt": ["a", "b"], "ct": 0, "obs": True, "osc": False, "sz": None, "title": "T", "if": ()})
    assert link.attributes == (("rt", "a b"), ("ct", "0"), ("obs", None), ("title", "T"), ("if", ""))
    assert str(Link.create("/t", {"ct": [0, 50]})) == '</t>;ct="0 50"'


def test_access() -> None:
    link = parse_links('</a>;rt="a b";obs;title="plain"')[0]
    assert link.has("obs")
    assert not link.has("osc")
    assert link.value("obs") is None
    assert link.value("rt") == "a b"
    assert link.values("rt") == ("a", "b")
    assert link.values("obs") == link.values("osc") == ()
    assert link.title == "plain"


@pytest.mark.parametrize(
    ("extended", "title"),
    [
        ("UTF-8'de'B%C3%BCro", "B\u00fcro"),
        ("utf-8''x", "x"),
        ("ISO-8859-1''x", "plain"),
        ("UTF-8''%FF", "plain"),
        ("x", "plain"),
    ],
)
def test_extended_title(extended: str, title: str) -> None:
    assert parse_links(f'</a>;title="plain";title*={extended}')[0].title == title


_VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
_ATTRIBUTE = st.tuples(st.from_regex(r"[a-z][a-z0-9\-]{0,8}", fullmatch=True), st.none() | _VALUES)
_TARGETS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="<> "), max_size=20)
_ANY_LINK = st.builds(Link, _TARGETS, st.lists(_ATTRIBUTE, max_size=4, unique_by=lambda pair: pair[0]).map(tuple))


@given(st.lists(_ANY_LINK, max_size=5))
def test_round_trip(links: list[Link]) -> None:
    assert parse_links(write_links(links).encode()) == tuple(links)


_PIECES = st.lists(
    st.sampled_from(["<", ">", "/a", ";", ",", "=", '"', "\\", "rt", "title*", " ", "\n", "\0", "\u00fc", "1"]),
    max_size=20,
)


@given(_PIECES.map("".join) | st.text() | st.binary())
def test_any_text_is_links_or_a_format_error(text: str | bytes) -> None:
    try:
        links = parse_links(text)
    except FormatError:
        return
    for link in links:
        assert "\0" not in link.target
        _ = link.title
        filter_links([link], ["rt=a*", "href=*"])


@given(st.text(max_size=10))
def test_any_query_is_a_filter_or_a_format_error(query: str) -> None:
    try:
        filter_links(_LINKS, [query])
    except FormatError:
        return
