from __future__ import annotations

import pytest

from securecoap.credentials.patterns import PatternError, PatternIndex, normal_host, parse_pattern


def covers(pattern, scheme, host, port, *segments):
    parsed = parse_pattern(pattern)
    index = PatternIndex()
    index.add(parsed, True)
    return any(index.find(segments)) and parsed.covers_origin(scheme, normal_host(host), port)


@pytest.mark.parametrize(
    ("pattern", "request_"),
    [
        ("*", ("coaps+ws", "anything", 1, "a", "b")),
        ("coap://*", ("coap", "h", 9999)),
        ("coap://*", ("coap", "h", 9999, "a", "b")),
        ("coap*://*/store/*", ("coaps", "h", 1, "store", "x")),
        ("coap*://*/store/*", ("coap+tcp", "h", 1, "store", "x", "y")),
        ("coap*://*/store/*", ("coap", "h", 1, "store", "")),
        ("coaps://host:7000/path*", ("coaps", "host", 7000, "pathology", "more")),
        ("coaps://host:7000/path*", ("coaps", "host", 7000, "path")),
        ("coap://h/*", ("coap", "h", 5683)),
        ("coap://h", ("coap", "h", 5683)),
        ("coap://h/", ("coap", "h", 5683)),
        ("coap://H:5683/x", ("coap", "h", 5683, "x")),
        ("coap://h:*/x", ("coap", "h", 61616, "x")),
        ("coap://*.example/x", ("coap", "a.example", 5683, "x")),
        ("coap://gate*", ("coap", "gateway", 61616, "x")),
        ("coap://[::1]/x", ("coap", "[0:0:0:0:0:0:0:1]", 5683, "x")),
        ("coap://127.0.0.1/x", ("coap", "::ffff:127.0.0.1", 5683, "x")),
        ("coap://h/a*c/d", ("coap", "h", 5683, "abc", "d")),
        ("coap://h/%61%2Fb", ("coap", "h", 5683, "a/b")),
        ("coap://h/%2A", ("coap", "h", 5683, "*")),
        ("coap://h/caf%C3%A9", ("coap", "h", 5683, "café")),
    ],
)
def test_a_pattern_covers(pattern, request_):
    assert covers(pattern, *request_)


@pytest.mark.parametrize(
    ("pattern", "request_"),
    [
        ("coap://*", ("coaps", "h", 5683)),
        ("coap*://*/store/*", ("coap", "h", 1, "store")),
        ("coap*://*/store/*", ("coap", "h", 1, "Store", "x")),
        ("coap*://*/store/*", ("coap", "h", 1, "store/x")),
        ("coap*://*/store/*", ("coap", "h", 1, "x", "store", "x")),
        ("coap://h", ("coap", "h", 5683, "x")),
        ("coap://h/x", ("coap", "h", 5683, "x", "")),
        ("coap://h/x", ("coap", "h", 5683, "x", "y")),
        ("coap://h/x", ("coap", "h", 5684, "x")),
        ("coap://h/*", ("coap", "h.evil", 5683, "x")),
        ("coap://h:7000/*", ("coap", "h", 5683, "x")),
        ("coap://*:7000/*", ("coap", "h", 5683, "x")),
        ("coap://h/a*c/d", ("coap", "h", 5683, "ab", "c", "d")),
        ("coap://h/%2A", ("coap", "h", 5683, "x")),
        ("coap://h/aba*aba", ("coap", "h", 5683, "aba")),
    ],
)
def test_a_pattern_does_not_cover(pattern, request_):
    assert not covers(pattern, *request_)


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "coap*", "coap:/h", "http://h/", "c*p", "://h", "coap://", "coap:///x", "coap://h?q", "coap://h/x?q=1",
        "coap://h/x#f", "coap://u@h/", "coap://h:0/", "coap://h:65536/", "coap://h:port/", "coap://h:999999999999/",
        "coap://[::1/", "coap://::1/", "coap://[nonsense]/", "coap://[*]/", "coap://h h/", "coap://h/%zz", "coap://h/%",
        "coap://h/%ff", "coap://h/é", "coap://h\n/", "coap://h:5*/x", "\ud800",
    ],
)  # fmt: skip
def test_a_faulty_pattern_is_refused(text):
    with pytest.raises(PatternError):
        parse_pattern(text)


def test_specificity_is_path_then_authority_then_scheme():
    order = ["*", "c*://*", "coap://*", "coap://h*", "coap://h/*", "c*://*/a*", "coap://*/a*", "c*://h/ab"]
    specificities = [parse_pattern(text).specificity for text in order]
    assert specificities == sorted(specificities)
    assert len(set(specificities)) == len(order)


def test_a_percent_encoded_character_counts_once():
    assert parse_pattern("coap://h/%61").specificity == parse_pattern("coap://h/a").specificity


def test_many_wildcards_cost_linear_time():
    pattern = parse_pattern("coap://h/" + "a*" * 100 + "b")
    index = PatternIndex()
    index.add(pattern, True)
    assert not list(index.find(("a" * 20_000,)))


def test_hosts_that_are_no_addresses_do_not_fail():
    assert normal_host("[::zz]") == "::zz"
    assert normal_host("FE80::0:1%25eth0") == "fe80::1%eth0"
    assert normal_host("") == ""


@pytest.mark.parametrize(
    ("pattern", "hosts"),
    [
        ("sensor.example", ["SENSOR.example", "sensor.example."]),
        ("sensor.example.", ["sensor.example", "sensor.example."]),
        ("*.example.", ["sensor.example", "sensor.example."]),
        (
            "192.0.2.1",
            ["192.0.2.1.", "3221225985", "0xC0000201", "192.0.513", "192.513", "0300.0.2.01", "[::ffff:192.0.2.1]"],
        ),
        ("[2001:db8::1]", ["[2001:DB8:0::1]", "[2001:db8::1%25eth0]", "2001:db8::1%eth0"]),
        ("[2001:db8::1%25eth0]", ["[2001:db8::1]"]),
        ("[fe80::1]", ["[fe80::1%25eth0]", "fe80::1%eth1"]),
    ],
)
def test_every_way_to_write_a_host_is_the_host(pattern, hosts):
    """Else a request would go out in plain text, past the entry that is meant for it."""
    parsed = parse_pattern(f"coap://{pattern}/*")
    assert [host for host in hosts if not parsed.covers_origin("coap", normal_host(host), 5683)] == []


def test_hosts_that_differ():
    one_zone = parse_pattern("coap://[fe80::1%25eth0]/*")
    assert not one_zone.covers_origin("coap", normal_host("[fe80::1%25eth1]"), 5683)
    group = parse_pattern("coap://[ff02::fd%25eth0]/*")
    assert not group.covers_origin("coap", normal_host("[ff02::fd%25eth1]"), 5683)
    assert normal_host("1.2.3.4.5") == "1.2.3.4.5"
    assert normal_host("192.0.2.256") == "192.0.2.256"
    assert normal_host("sensor.example..") == "sensor.example."
