"""What requests have to prove. It fails closed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.credentials import Decision, OwnNames
from securecoap.credentials.patterns import parse_pattern
from securecoap.credentials.policy import Basis

from .material import GET, NOW, PUT, build, edhoc, oscore, psk

DEVICES = {":a": psk("a"), ":b": psk("b"), ":o": oscore()}
OK, UNAUTHORIZED, FORBIDDEN = Decision.ALLOWED, Decision.UNAUTHORIZED, Decision.FORBIDDEN


def decide(patterns, *segments, claims=(), scheme="coap", host="h", port=5683, method=GET, now=NOW, **more):
    loaded = build({**DEVICES, **more, **patterns}, role="server")
    return loaded.policy.decide(scheme, host, port, segments, method, tuple(claims), now)


def test_a_decision_is_false_or_a_code():
    assert not OK
    assert (UNAUTHORIZED, FORBIDDEN) == (0x81, 0x83)


def test_what_no_pattern_covers_needs_any_claim():
    assert decide({}, "x") is UNAUTHORIZED
    assert decide({}, "x", claims=[":whoever"]) is OK
    assert decide({}) is UNAUTHORIZED
    assert decide({}, ".well-known", "core") is OK
    assert decide({}, ".well-known", "edhoc") is OK
    assert decide({}, ".well-known", "core", "x") is UNAUTHORIZED
    assert decide({}, ".well-known/core") is UNAUTHORIZED


def test_discovery_can_be_closed():
    assert decide({"coap*://*/.well-known/*": ":a"}, ".well-known", "core") is UNAUTHORIZED


def test_a_star_opens_the_rest():
    patterns = {"*": {"unprotected": True}, "coap*://*/store/*": ":a"}
    assert decide(patterns, "x") is OK
    assert decide(patterns, "store", "x") is UNAUTHORIZED


def test_a_reference_demands_that_very_label():
    patterns = {"coap*://*/x": ":a"}
    assert decide(patterns, "x", claims=[":a"]) is OK
    assert decide(patterns, "x", claims=[":b"]) is FORBIDDEN
    assert decide(patterns, "x") is UNAUTHORIZED


def test_equal_claims_are_not_the_label():
    devices = {":c": psk("c", claims=["reader"]), ":d": psk("d", claims=["reader"])}
    loaded = build({**devices, "coap*://*/x": ":c"})
    claims = loaded.find_psk(b"d", NOW).claims
    assert loaded.policy.decide("coaps", "h", 5684, ("x",), GET, claims, NOW) is FORBIDDEN


def test_an_alias_is_proved_by_what_it_stands_for():
    loaded = build({":role": ":c", ":c": psk("c"), "coap*://*/x": ":role"})
    assert loaded.policy.decide("coaps", "h", 5684, ("x",), GET, loaded.find_psk(b"c", NOW).claims, NOW) is OK


def test_groups_and_credentials_under_a_pattern():
    patterns = {
        "coap*://*/any": {"any-of": [":a", ":o"]},
        "coap*://*/all": {"all-of": [":a", ":o"]},
        "coap*://*/g": ":g",
    }
    group = {":g": {"any-of": [":b", {"all-of": [":a", ":o"]}]}}
    for segment, claims, expected in [
        ("any", [":o"], OK), ("any", [":b"], FORBIDDEN), ("all", [":o"], FORBIDDEN), ("all", [":o", ":a"], OK),
        ("g", [":b"], OK), ("g", [":a"], FORBIDDEN), ("g", [":g"], FORBIDDEN), ("g", [":o", ":a"], OK),
    ]:  # fmt: skip
        assert decide(patterns, segment, claims=claims, **group) is expected
    loaded = build({"coap*://*/own": psk("z"), "coap*://*/pair": {"all-of": [psk("y"), oscore()]}})
    own, first = (loaded.find_psk(identity, NOW).claims for identity in (b"z", b"y"))
    second = loaded.find_oscore(b"\x12", None, NOW)[0].claims
    assert own == ("coap*://*/own",)
    for segment, claims, expected in [
        ("own", own, OK), ("own", first, FORBIDDEN), ("pair", first, FORBIDDEN), ("pair", second, FORBIDDEN),
        ("pair", second + first, OK),
    ]:  # fmt: skip
        assert loaded.policy.decide("coaps", "h", 5684, (segment,), GET, claims, NOW) is expected


def test_a_path_covered_for_another_scheme_or_authority_is_not_opened():
    patterns = {"*": {"unprotected": True}, "coaps://*/x/*": ":a", "coap://admin.example/y": ":a"}
    assert decide(patterns, "x", "1") is UNAUTHORIZED
    assert decide(patterns, "x", "1", claims=[":a"]) is FORBIDDEN
    assert decide(patterns, "x", "1", claims=[":a"], scheme="coaps") is OK
    assert decide(patterns, "y", host="public.example") is UNAUTHORIZED
    assert decide(patterns, "y", host="admin.example", claims=[":a"]) is OK
    assert decide(patterns, "z") is OK


def test_the_more_specific_path_wins_even_if_it_opens():
    patterns = {"coap*://*/x/*": ":a", "coap*://*/x/open": {"unprotected": True}}
    assert decide(patterns, "x", "open") is OK
    assert decide(patterns, "x", "opened") is UNAUTHORIZED


def test_the_later_entry_wins_a_tie():
    assert decide({"coap*://*/x": ":a", "coap*://*/*x": ":b"}, "x", claims=[":b"]) is OK
    assert decide({"coap*://*/*x": ":b", "coap*://*/x": ":a"}, "x", claims=[":b"]) is FORBIDDEN


def test_segments_are_compared_not_texts():
    patterns = {"*": {"unprotected": True}, "coap*://*/store/*": ":a"}
    assert decide(patterns, "store", "a/b") is UNAUTHORIZED
    assert decide({"coap*://*/open/*": {"unprotected": True}}, "open/x") is UNAUTHORIZED
    assert decide({"coap*://*/open": {"unprotected": True}}, "open", "") is UNAUTHORIZED


def test_methods_limit_a_pattern():
    patterns = {"coap*://*/x": {"any-of": [":a"], "methods": ["PUT"]}, "*": {"unprotected": True}}
    assert decide(patterns, "x") is OK
    assert decide(patterns, "x", method=PUT) is UNAUTHORIZED


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ({}, False),
        ({"*": {"unprotected": True}}, False),
        ({"coap*://*/x": ":a"}, False),
        ({"coap*://*/x": {"any-of": [":a"], "methods": ["PUT"]}}, True),
        ({"coap*://*/*": {"any-of": [":a"], "methods": ["GET", "PUT"]}}, True),
        ({"coap*://*/x": {"any-of": [":a"], "methods": ["GET"]}}, False),
        ({"coap*://*/x": {"any-of": [":a"], "methods": ["PUT"]}, "*": ":a"}, True),
        # It is the pattern that decides whose methods count, whatever others say.
        ({"coap*://*/*": {"any-of": [":a"], "methods": ["PUT"]}, "coap*://*/x": ":a"}, False),
        ({"coap*://*/x": ":a", "coap://h/x": {"any-of": [":a"], "methods": ["PUT"]}}, True),
        ({"coaps://*/x": {"any-of": [":a"], "methods": ["PUT"]}}, False),
        ({"coap://other/x": {"any-of": [":a"], "methods": ["PUT"]}}, False),
    ],
)
def test_whether_the_deciding_pattern_names_the_method(patterns, names):
    policy = build({**DEVICES, **patterns}, role="server").policy
    assert policy.names_method("coap", "h", 5683, ("x",), PUT) is names


def test_time_limits_reach_remembered_decisions():
    patterns = {"coap*://*/x": {"unprotected": True, "not-after": "2027-01-01T00:00:00Z"}}
    policy = build(patterns, role="server").policy
    end = 1_798_761_600.0
    ask = ("coap", "h", 5683, ("x",), GET, ())
    assert policy.decide(*ask, end - 1) is OK
    assert policy.decide(*ask, end) is UNAUTHORIZED
    assert policy.decide(*ask, end - 1) is OK


def test_an_expired_label_is_not_satisfied():
    patterns = {"coap*://*/x": ":old"}
    old = {":old": psk("old", **{"not-after": "2001-01-01T00:00:00Z"})}
    assert decide(patterns, "x", claims=[":old"], **old) is FORBIDDEN


def test_kinds_that_are_not_usable_yet_open_nothing():
    assert decide({"coap*://*/x": edhoc(method=0)}, "x") is UNAUTHORIZED


def test_the_memory_of_decisions_is_bounded(monkeypatch):
    monkeypatch.setattr("securecoap.credentials.policy.MAXIMUM_DECISIONS", 8)
    policy = build(DEVICES).policy
    for index in range(100):
        policy.decide("coap", "h", 1, (str(index),), GET, (), NOW)
    assert len(policy._decisions) <= 8


def test_a_repeated_decision_does_not_look_at_patterns(monkeypatch):
    policy = build({**DEVICES, "coap*://*/x": ":a"}).policy
    first = policy.decide("coap", "h", 1, ("x",), GET, (), NOW)
    monkeypatch.setattr(policy._index, "_root", None)
    assert policy.decide("coap", "h", 1, ("x",), GET, (), NOW) is first


def test_the_basis_of_a_decision():
    policy = build({**DEVICES, "coap*://*/x": ":a", "coaps://*/z": ":a"}).policy
    for segments, basis in [
        (("x",), (Basis.PATTERN, "coap*://*/x")), (("y",), (Basis.UNCOVERED, None)),
        (("z",), (Basis.OTHER_ORIGIN, None)), ((".well-known", "core"), (Basis.OPEN, None)),
    ]:  # fmt: skip
        assert policy.basis("coap", "h", 1, segments, GET) == basis


LABELS = st.sampled_from([":a", ":b", ":o"])
NODES = st.recursive(
    LABELS, lambda inner: st.builds(lambda kind, members: {kind: members}, st.sampled_from(["any-of", "all-of"]), st.lists(inner, min_size=1, max_size=3)), max_leaves=6
)  # fmt: skip


def meaning(node, claims):
    if isinstance(node, str):
        return node in claims
    ((kind, members),) = node.items()
    return (any if kind == "any-of" else all)(meaning(member, claims) for member in members)


@given(NODES, st.lists(LABELS, unique=True))
def test_demands_mean_what_they_say(node, claims):
    expected = OK if meaning(node, claims) else FORBIDDEN if claims else UNAUTHORIZED
    assert decide({"coap://*/x": node}, "x", claims=claims) is expected


SEGMENT = st.sampled_from(["store", "hello", "x", "", "*", "a/b"])


@given(
    st.lists(SEGMENT, max_size=4), st.sampled_from(["coap", "coaps", "coap+tcp"]), st.sampled_from(["h", "g", "::1"])
)
def test_nothing_is_open_that_no_unprotected_pattern_covers(segments, scheme, host):
    patterns = {"coap*://*/store/*": ":a", "coap://h/hello": {"unprotected": True}}
    opened = decide(patterns, *segments, scheme=scheme, host=host) is OK
    assert opened == ((scheme, host, segments) == ("coap", "h", ["hello"]))


def test_own_names():
    own = OwnNames(["192.0.2.1", "fe80::1%eth0", "::"], ["Gateway.Example"])
    assert own.is_own("gateway.example")
    assert own.is_own("192.0.2.1")
    assert not own.is_own("localhost")
    assert not own.is_own("::")
    assert not own.is_own("evil.example")
    assert not own.is_own("")
    assert own.is_own("[2001:db8::1]", "2001:db8::1")
    assert not own.is_own("2001:db8::2", "2001:db8::1")
    assert OwnNames(["127.0.0.1"]).is_own("LOCALHOST")
    assert OwnNames(["::"], loopback=True).is_own("localhost")


@pytest.mark.parametrize(
    ("pattern", "covered"),
    [("*", True), ("coap://*/x", True), ("coaps://gw/x", True), ("coaps://gw:1/x", True), ("coaps://g*/", True),
     ("coaps://other/", False), ("coaps://o*/", False)],
)  # fmt: skip
def test_own_names_cover_patterns(pattern, covered):
    assert OwnNames([], ["gw"]).covers(parse_pattern(pattern)) is covered
