"""URIs and their parts (RFC 7252 section 6 and appendix B, RFC 3986)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.errors import UriError
from securecoap.wire.uri import (
    DEFAULT_PORTS,
    MAXIMUM_URI_LENGTH,
    ParsedUri,
    compose_uri,
    is_ip_literal,
    location_uri,
    parse_uri,
    resolve_uri,
)

_VECTORS = Path(__file__).parents[1] / "vectors"
_MESSAGES = json.loads((_VECTORS / "coap_messages.json").read_text(encoding="utf-8"))
_REGISTRY = json.loads((_VECTORS / "option_registry.json").read_text(encoding="utf-8"))
_EXTRA = _MESSAGES["uri_extra"]


def _options(uri: ParsedUri, destination_port: int) -> list[list[str]]:
    """RFC 7252 section 6.4 steps 5 to 9, for a request that goes to an address literal or to where the name resolved."""
    options = [] if uri.is_ip_literal else [["Uri-Host", uri.host]]
    if uri.port != destination_port:
        options.append(["Uri-Port", str(uri.port)])
    options += [["Uri-Path", segment] for segment in uri.path]
    return options + [["Uri-Query", argument] for argument in uri.query]


@pytest.mark.parametrize("entry", _MESSAGES["uri_to_options"], ids=lambda entry: entry["id"])
def test_appendix_b(entry: dict[str, Any]) -> None:
    uri = parse_uri(entry["uri"])
    assert _options(uri, entry["dest_port"]) == entry["options"]
    # Appendix B goes from options to URI
    values: dict[str, list[str]] = {"Uri-Host": [], "Uri-Path": [], "Uri-Query": []}
    for name, value in entry["options"]:
        values[name].append(value)
    host = values["Uri-Host"][0] if values["Uri-Host"] else entry["dest_ip"]
    composed = compose_uri("coap", host, entry["dest_port"], values["Uri-Path"], values["Uri-Query"])
    assert parse_uri(composed) == uri
    if entry["id"] != "URI-5":  # the RFC prints "/" in a query encoded there, which section 6.5 leaves as it is
        assert composed == entry["uri"]
    else:
        assert composed == "coap://198.51.100.1:61616//%2F//?//&?%26"


@pytest.mark.parametrize("entry", [e for e in _EXTRA if "equivalent_to" in e], ids=lambda entry: entry["uri"])
def test_equivalent(entry: dict[str, Any]) -> None:
    for other in entry["equivalent_to"]:
        assert parse_uri(other) == parse_uri(entry["uri"])
        assert str(parse_uri(other)) == str(parse_uri(entry["uri"]))


@pytest.mark.parametrize("entry", [e for e in _EXTRA if "invalid" in e], ids=lambda entry: entry["uri"])
def test_invalid(entry: dict[str, Any]) -> None:
    with pytest.raises(UriError):
        parse_uri(entry["uri"])


@pytest.mark.parametrize("entry", [e for e in _EXTRA if "options" in e], ids=lambda entry: entry["uri"])
def test_decomposition(entry: dict[str, Any]) -> None:
    assert _options(parse_uri(entry["uri"]), 5683) == entry["options"]


def test_every_extra_vector_is_used() -> None:
    assert all({"equivalent_to", "invalid", "options"} & set(entry) for entry in _EXTRA)


@pytest.mark.parametrize(("scheme", "port"), DEFAULT_PORTS.items())
def test_scheme(scheme: str, port: int) -> None:
    uri = parse_uri(f"{scheme.upper()}://h/x")
    assert (uri.scheme, uri.port) == (scheme, port)
    assert str(uri) == f"{scheme}://h/x"
    assert uri.hostinfo == "h"
    assert parse_uri(f"{scheme}://h:{port}/x") == uri
    assert str(parse_uri(f"{scheme}://h:1/x")) == f"{scheme}://h:1/x"


def test_default_ports_are_the_registry_s() -> None:
    ports = _REGISTRY["ports"]
    assert DEFAULT_PORTS["coap"] == ports["coap_udp"]
    assert DEFAULT_PORTS["coaps"] == ports["coaps_udp"]
    assert DEFAULT_PORTS["coap+tcp"] == ports["coap_tcp"]
    assert DEFAULT_PORTS["coaps+tcp"] == ports["coaps_tcp"]


@pytest.mark.parametrize(
    ("text", "host", "composed"),
    [
        ("[::1]", "::1", "[::1]"),
        ("[2001:DB8:0:0:0:0:0:1]", "2001:db8::1", "[2001:db8::1]"),
        ("[::ffff:198.51.100.7]", "::ffff:198.51.100.7", "[::ffff:198.51.100.7]"),
        ("[fe80::1%25eth0]", "fe80::1%eth0", "[fe80::1%25eth0]"),
        ("[fe80::1%25Eth%30]", "fe80::1%Eth0", "[fe80::1%25Eth0]"),
        ("[fe80::1%eth0]", "fe80::1%eth0", "[fe80::1%25eth0]"),
        ("[fe80::1%251]", "fe80::1%1", "[fe80::1%251]"),
        ("198.51.100.1", "198.51.100.1", "198.51.100.1"),
        ("%3198.51.100.1", "198.51.100.1", "198.51.100.1"),
        ("0.0.0.0", "0.0.0.0", "0.0.0.0"),
    ],
)
def test_address(text: str, host: str, composed: str) -> None:
    uri = parse_uri(f"coap://{text}/")
    assert uri.host == host
    assert uri.is_ip_literal
    assert uri.hostinfo == composed
    assert str(uri) == f"coap://{composed}/"
    assert parse_uri(str(uri)) == uri


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("EXAMPLE.com", "example.com"),
        ("EX%41MPLE.com", "example.com"),
        ("my%20device.local", "my device.local"),
        ("b%C3%BCro.example", "büro.example"),
        ("%C3%9C.example", "Ü.example"),  # ASCII lower case only (section 6.4)
        ("256.0.0.1", "256.0.0.1"),
        ("1.2.3", "1.2.3"),
        ("1.2.3.4.5", "1.2.3.4.5"),
        ("01.2.3.4", "01.2.3.4"),
        ("1.2.3.4.", "1.2.3.4."),
        ("a!$&'()*+,;=~_", "a!$&'()*+,;=~_"),
    ],
)
def test_registered_name(text: str, host: str) -> None:
    uri = parse_uri(f"coap://{text}/")
    assert uri.host == host
    assert not uri.is_ip_literal
    assert parse_uri(str(uri)) == uri


@pytest.mark.parametrize(
    ("text", "port"),
    [("", 5683), (":", 5683), (":0", 0), (":65535", 65535), (":005683", 5683), (":" + "0" * 5000 + "9", 9)],
)
def test_port(text: str, port: int) -> None:
    assert parse_uri(f"coap://h{text}/").port == port
    assert parse_uri(f"coap://[::1]{text}").port == port


@pytest.mark.parametrize(
    "text",
    [
        "", "h", "/a", "//h/a", "coap:", "coap:/h", "coap:h", "coap://", "coap://?x", "coap://:5683/",
        "http://h/", "coapx://h/", "co ap://h/", "1coap://h/", " coap://h/", "coap://h/ ", "coap://h/\n", "coap://h\n/",
        "coap://u@h/", "coap://u:p@h/", "coap://@h/", "coap://h#", "coap://h/#f", "coap://h/?q#f",
        "coap://h:65536/", "coap://h:-1/", "coap://h:+1/", "coap://h:5 6/", "coap://h:x/", "coap://h:1:2/", "coap://h:\u0665/",
        "coap://h:" + "9" * 5000 + "/",
        "coap://[::1/", "coap://::1/", "coap://[::1]x/", "coap://[]/", "coap://[:::1]/", "coap://[1:2]/", "coap://[h]/",
        "coap://[1.2.3.4]/", "coap://[v1.fe80]/", "coap://[vF.a:b]/", "coap://[::g]/", "coap://[::1%]/", "coap://[::1%25]/",
        "coap://[::1%de]/", "coap://[::1%25a/b]/", "coap://[::1%25a%2Fb]/", "coap://[::1%25%00]/", "coap://[::1%25%FF]/",
        "coap://[::1\0]/", "coap://[::\u0661]/",
        "coap://[::1]]/", "coap://a]/", "coap://a[b/",
        "coap://%/", "coap://h/%", "coap://h/%4", "coap://h/%zz", "coap://h/?%", "coap://h/%u0041",
        "coap://h/%FF", "coap://h/?%C3", "coap://%80/", "coap://h/%ED%A0%80", "coap://h/%C0%AF", "coap://h/%F4%90%80%80",
        "coap://h/a b", "coap://h/<a>", "coap://h/a\\b", 'coap://h/"', "coap://h/^", "coap://h/{x}", "coap://h/|", "coap://h/`",
        "coap://h/[", "coap://h/?[", "coap://h/\u00fc", "coap://h/?\u00fc", "coap://b\u00fcro/", "coap://h/\ud800", "coap://h/\0",
        "coap://a%2Fb/", "coap://a%3Fb/", "coap://a%23b/", "coap://a%40b/", "coap://a%3A1/", "coap://%5B%3A%3A1%5D/", "coap://a%00/",
        "coap://a%5Cb/", "coap://a%7F/",
    ],
)  # fmt: skip
def test_what_is_no_coap_uri(text: str) -> None:
    with pytest.raises(UriError):
        parse_uri(text)


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("", ()), ("/", ()), ("/a", ("a",)), ("/a/", ("a", "")), ("//", ("", "")), ("//a", ("", "a")), ("/a//b", ("a", "", "b")),
        ("/.", ()), ("/..", ()), ("/./", ()), ("/../", ()), ("/a/.", ("a", "")), ("/a/..", ()), ("/a/../", ()), ("/a/./b", ("a", "b")),
        ("/a/b/../c", ("a", "c")), ("/../../a", ("a",)), ("/a//../b", ("a", "b")), ("//..", ()), ("/..//a", ("", "a")),
        ("/%2E%2e/a", ("a",)), ("/a/%2E", ("a", "")), ("/a/.%2E/b", ("b",)), ("/...", ("...",)), ("/a%2F..", ("a/..",)), ("/%2F", ("/",)),
        ("/a;b=1,c:@!$&'()*+~", ("a;b=1,c:@!$&'()*+~",)), ("/%25", ("%",)), ("/%2525", ("%25",)), ("/%00", ("\0",)),
    ],
)  # fmt: skip
def test_path(path: str, segments: tuple[str, ...]) -> None:
    uri = parse_uri(f"coap://h{path}")
    assert uri.path == segments
    assert parse_uri(str(uri)) == uri


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        ("", ()), ("?", ("",)), ("?a", ("a",)), ("?a&b=1", ("a", "b=1")), ("?&", ("", "")), ("?a?b/c", ("a?b/c",)), ("?%26", ("&",)),
        ("?a+b", ("a+b",)), ("?..", ("..",)), ("?%23%5B", ("#[",)),
    ],
)  # fmt: skip
def test_query(query: str, arguments: tuple[str, ...]) -> None:
    uri = parse_uri(f"coap://h{query}")
    assert uri.query == arguments
    assert parse_uri(str(uri)) == uri


@pytest.mark.parametrize("place", ["coap://{}/", "coap://h/{}", "coap://h/x/{}/y", "coap://h/?{}", "coap://h/?a&{}"])
@pytest.mark.parametrize(("character", "size"), [("a", 1), ("%C3%BC", 2), ("%41", 1)])
def test_parts_have_at_most_255_bytes(place: str, character: str, size: int) -> None:
    fitting = place.format(character * (255 // size))
    assert parse_uri(str(parse_uri(fitting))) == parse_uri(fitting)
    with pytest.raises(UriError, match="255"):
        parse_uri(place.format(character * (255 // size + 1)))


def test_length_of_a_uri() -> None:
    longest = "coap://h" + "/a" * 32_764
    assert len(longest) == MAXIMUM_URI_LENGTH
    assert len(parse_uri(longest).path) == 32_764
    for text in (longest + "/", "coap://h/" + "../" * 100_000):
        with pytest.raises(UriError, match="too long"):
            parse_uri(text)
    with pytest.raises(UriError, match="too long"):
        resolve_uri("coap://h/", longest + "/")
    with pytest.raises(UriError, match="too long"):
        resolve_uri(longest + "/", "")


def test_errors_show_text_escaped_and_short() -> None:
    with pytest.raises(UriError) as caught:
        parse_uri("x\x1b[31m\n" * 1000)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def test_composition() -> None:
    assert compose_uri("coap", "h") == "coap://h/"
    assert compose_uri("coap", "H.Example", 5683, ["a b", "ü", "a/b", "%"], ["x=1", "&#", "ü"]) == (
        "coap://h.example/a%20b/%C3%BC/a%2Fb/%25?x=1&%26%23&%C3%BC"
    )
    assert compose_uri("coaps", "[2001:DB8::1]", 5683) == "coaps://[2001:db8::1]:5683/"
    assert compose_uri("coap", "fe80::1%a b") == "coap://[fe80::1%25a%20b]/"
    assert compose_uri("coap", "h", 0, ("", "a", ""), ("",)) == "coap://h:0//a/?"


@pytest.mark.parametrize(
    "arguments",
    [
        ("http", "h"), ("COAP", "h"), ("coap", ""), ("coap", "[]"), ("coap", "[h]"), ("coap", "a:b"), ("coap", "a/b"),
        ("coap", "a@b"), ("coap", "a\0"), ("coap", "a" * 256), ("coap", "\ud800"), ("coap", "h", -1), ("coap", "h", 65536),
        ("coap", "h", 1, ["."]), ("coap", "h", 1, ["a", ".."]), ("coap", "h", 1, ["a" * 256]), ("coap", "h", 1, ["\udc80"]),
        ("coap", "h", 1, [], ["ü" * 128]), ("coap", "::1%a/b"), ("coap", "::1\0"), ("coap", "::\ud800"),
    ],
)  # fmt: skip
def test_what_cannot_be_composed(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(UriError):
        compose_uri(*arguments)


def test_is_ip_literal() -> None:
    assert is_ip_literal("::1")
    assert is_ip_literal("255.255.255.255")
    assert not is_ip_literal("255.255.255.256")
    assert not is_ip_literal("1.2.3.4\n")
    assert not is_ip_literal("\u0661.2.3.4")
    assert not is_ip_literal("example.com")


@pytest.mark.parametrize(
    ("reference", "target"),
    # RFC 3986 section 5.4.1 and 5.4.2
    [
        ("g:h", "g:h"), ("g", "coap://a/b/c/g"), ("./g", "coap://a/b/c/g"), ("g/", "coap://a/b/c/g/"), ("/g", "coap://a/g"),
        ("//g", "coap://g"), ("?y", "coap://a/b/c/d;p?y"), ("g?y", "coap://a/b/c/g?y"), ("#s", "coap://a/b/c/d;p?q#s"),
        ("g#s", "coap://a/b/c/g#s"), ("g?y#s", "coap://a/b/c/g?y#s"), (";x", "coap://a/b/c/;x"), ("g;x", "coap://a/b/c/g;x"),
        ("g;x?y#s", "coap://a/b/c/g;x?y#s"), ("", "coap://a/b/c/d;p?q"), (".", "coap://a/b/c/"), ("./", "coap://a/b/c/"),
        ("..", "coap://a/b/"), ("../", "coap://a/b/"), ("../g", "coap://a/b/g"), ("../..", "coap://a/"), ("../../", "coap://a/"),
        ("../../g", "coap://a/g"), ("../../../g", "coap://a/g"), ("../../../../g", "coap://a/g"), ("/./g", "coap://a/g"),
        ("/../g", "coap://a/g"), ("g.", "coap://a/b/c/g."), (".g", "coap://a/b/c/.g"), ("g..", "coap://a/b/c/g.."), ("..g", "coap://a/b/c/..g"),
        ("./../g", "coap://a/b/g"), ("./g/.", "coap://a/b/c/g/"), ("g/./h", "coap://a/b/c/g/h"), ("g/../h", "coap://a/b/c/h"),
        ("g;x=1/./y", "coap://a/b/c/g;x=1/y"), ("g;x=1/../y", "coap://a/b/c/y"), ("g?y/./x", "coap://a/b/c/g?y/./x"),
        ("g?y/../x", "coap://a/b/c/g?y/../x"), ("g#s/./x", "coap://a/b/c/g#s/./x"), ("coap:g", "coap:g"),
        ("http://www.example.com/x/../y", "http://www.example.com/y"), ("//[::1]:1/x", "coap://[::1]:1/x"), ("x:/..//y", "x:/.//y"),
    ],
)  # fmt: skip
def test_resolution(reference: str, target: str) -> None:
    assert resolve_uri("coap://a/b/c/d;p?q", reference) == target


def test_resolution_against_an_empty_path() -> None:
    assert resolve_uri("coap://a", "g") == "coap://a/g"
    assert resolve_uri("coap://a?q", "") == "coap://a?q"
    assert resolve_uri("coap+tcp://a:1?q", "?") == "coap+tcp://a:1?"


@pytest.mark.parametrize(
    ("base", "reference"),
    [
        ("/a", "b"),
        ("coap:a", "b"),
        ("", ""),
        ("coap://a", "b c"),
        ("coap://a", "\u00fc"),
        ("coap://a", "%"),
        ("coap://a", "\n"),
    ],
)
def test_what_cannot_be_resolved(base: str, reference: str) -> None:
    with pytest.raises(UriError):
        resolve_uri(base, reference)


def test_location() -> None:
    base = "coap://h:1/a/b?q"
    assert location_uri(base, ["x", "y"]) == "coap://h:1/x/y"
    assert location_uri(base, ["x"], ["k=v"]) == "coap://h:1/x?k=v"
    assert location_uri(base, [], ["k=v"]) == "coap://h:1/a/b?k=v"
    # as a relative reference this would be a host named evil
    assert location_uri(base, ["", "evil", "x"]) == "coap://h:1//evil/x"
    with pytest.raises(UriError):
        location_uri(base, [".."])
    with pytest.raises(UriError):
        location_uri("/a", ["x"])


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
_SEGMENT = _TEXT.filter(lambda text: text not in {".", ".."})
_NAME = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=":/?#[]@\\"), min_size=1, max_size=40)
_HOST = st.one_of(
    _NAME.map(lambda text: "".join(c.lower() if c.isascii() else c for c in text)),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: parse_uri(f"coap://[{address}]").host),
)


@given(
    st.sampled_from(sorted(DEFAULT_PORTS)),
    _HOST,
    st.integers(0, 65535),
    st.lists(_SEGMENT, max_size=5),
    st.lists(_TEXT, max_size=4),
)
def test_round_trip(scheme: str, host: str, port: int, path: list[str], query: list[str]) -> None:
    text = compose_uri(scheme, host, port, path, query)
    assert text.isascii()
    assert parse_uri(text) == (scheme, host, port, () if path == [""] else tuple(path), tuple(query))
    assert str(parse_uri(text)) == text


_PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "coap",
                "://",
                "[",
                "]",
                "::1",
                "%25",
                "%",
                "/",
                "..",
                ".",
                "?",
                "#",
                "@",
                ":",
                "&",
                "h",
                "%C3%BC",
                "%FF",
                "1",
            ]
        ),
        st.text(max_size=3),
    ),
    max_size=12,
).map("".join)


@given(st.one_of(_PIECES, _PIECES.map("coap://".__add__), st.text()))
def test_any_text_is_a_uri_or_a_uri_error(text: str) -> None:
    try:
        uri = parse_uri(text)
    except UriError:
        return
    assert not {".", ".."} & set(uri.path)
    assert parse_uri(str(uri)) == uri


@given(_PIECES, _PIECES)
def test_any_reference_resolves_or_is_a_uri_error(base: str, reference: str) -> None:
    try:
        resolve_uri("coap://" + base, reference)
    except UriError:
        return


@given(st.text(max_size=30), st.lists(st.text(max_size=5), max_size=3))
def test_any_host_and_path_compose_or_are_a_uri_error(host: str, path: list[str]) -> None:
    try:
        text = compose_uri("coap", host, None, path)
    except UriError:
        return
    assert str(parse_uri(text)) == text
