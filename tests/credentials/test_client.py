"""What a request is sent with; never plain text where a credential was meant."""

from __future__ import annotations

import pytest

from securecoap.credentials import PLAIN
from securecoap.errors import CredentialsMissing

from .material import EDHOC_PEER, GET, NOW, PUT, build, edhoc, oscore, psk


def select(entries, uri_scheme="coap", host="gateway.example", port=None, segments=("x",), method=GET, **options):
    options.setdefault("now", NOW)
    role = options.pop("role", "client")
    return build(entries, role=role).select(uri_scheme, host, port, segments, method, **options)


def refused(*arguments, **options):
    with pytest.raises(CredentialsMissing) as caught:
        select(*arguments, **options)
    return str(caught.value)


def test_a_pattern_selects_its_credential():
    chosen = select({"coaps://gateway.example/*": psk()}, "coaps")
    assert chosen.dtls.identity == b"sensor-17"
    assert chosen.oscore is None
    assert chosen.claims == ("coaps://gateway.example/*",)
    chosen = select({"coap://gateway.example/*": oscore()}, "coap", port=5683)
    assert chosen.oscore.sender_id == b"\x01"
    assert chosen.dtls is None


def test_references_are_followed_and_their_labels_are_the_claims():
    entries = {"coaps://*": ":outer", ":outer": ":inner", ":inner": psk(claims=["gateway"]), ":alias": ":inner"}
    assert select(entries, "coaps").claims == (":outer", ":inner", "gateway")


def test_plain_text_only_where_no_pattern_names_the_authority():
    assert select({}) is PLAIN
    assert select({"coaps://other/*": psk()}) is PLAIN
    assert select({"coaps://gateway.example/*": psk()}, port=61616) is PLAIN
    assert select({":label": psk()}) is PLAIN
    assert PLAIN.plain
    assert PLAIN.claims == ()


@pytest.mark.parametrize(
    "entries",
    [
        {"coap://gateway.example/private/*": oscore()},
        {"coaps://gateway.example/*": psk()},
        {"coaps://GATEWAY.example:5684/*": psk()},
        {"coaps+tcp://gateway.example": psk()},
        {"coap://*.example/private": oscore()},
        {"coaps://*": psk()},
        {"coap://gateway.example/x": {**oscore(), "methods": ["PUT"]}},
        {"coap://gateway.example/hello": {"unprotected": True}},
    ],
)
def test_an_authority_that_is_named_gets_no_plain_text(entries):
    assert "names its authority" in refused(entries)


@pytest.mark.parametrize(
    ("entries", "scheme", "reason"),
    [
        ({"coap*://gateway.example/*": psk()}, "coap", "for coaps, not coap"),
        ({"coap*://gateway.example/*": oscore()}, "coaps", "coaps needs a dtls credential"),
        ({"*": {"unprotected": True}}, "coaps", "has no credential"),
        ({}, "coaps", "needs a credential"),
        ({"*": {"all-of": [psk(), oscore()]}}, "coap", "for coaps, not coap"),
        ({"*": {"all-of": [psk(), psk("other")]}}, "coaps", "more than one credential"),
        ({"*": {"all-of": [oscore(), oscore("02", "22")]}}, "coap", "more than one credential"),
        ({"*": oscore()}, "coaps+tcp", "not usable yet"),
        ({"*": edhoc(method=0)}, "coap", "usable with suite 2 and method 3 only"),
        ({"*": edhoc(**{"peer-cred": None})}, "coap", "could be anybody"),
        ({"*": {"edhoc-oscore": {"suite": 2, "method": 3, "peer-cred": EDHOC_PEER}}}, "coap", "has no own-cred"),
        ({"*": {"all-of": [edhoc(), oscore()]}}, "coap", "more than one credential"),
        ({"*": edhoc()}, "coaps", "coaps needs a dtls credential"),
        ({"*": {"unprotected": True}}, "http", "no scheme of CoAP"),
    ],
)
def test_a_credential_that_does_not_fit_fails_the_request(entries, scheme, reason):
    assert reason in refused(entries, scheme)


def test_unprotected_opens_what_is_meant_to_be_open():
    entries = {"coap://gateway.example/*": oscore(), "coap://gateway.example/hello": {"unprotected": True}}
    assert select(entries, segments=("hello",)).plain
    assert not select(entries, segments=("hello", "x")).plain
    assert select({**entries, ":open": {"unprotected": True}, "coap://h/*": ":open"}, host="h").plain


def test_the_most_specific_pattern_decides_alone():
    first, second = oscore("01", "11"), oscore("02", "22")
    assert select({"coap://*/x": first, "coap://gateway.example/*": second}).oscore.sender_id == b"\x01"
    assert select({"coap://gateway.example/*": first, "coap://*": second}).oscore.sender_id == b"\x01"
    assert select({"coap://gateway.example/*": first, "c*://gateway.example/*": second}).oscore.sender_id == b"\x01"
    assert select({"coap://gateway.example/*": first, "coap*://gateway.example/*": second}).oscore.sender_id == b"\x02"
    # The specific entry cannot be used, the other one could: the request fails all the same.
    assert "not valid" in refused(
        {"coap://*": second, "coap://gateway.example/x": {**first, "not-after": "2001-01-01T00:00:00Z"}}
    )


def test_methods():
    entries = {"coap://*/x": {**oscore("01", "11"), "methods": ["put", "iPATCH"]}, "coap://*": oscore("02", "22")}
    assert select(entries, method=PUT).oscore.sender_id == b"\x01"
    assert select(entries, method=GET).oscore.sender_id == b"\x02"


def test_any_of_is_chosen_by_scheme_and_configuration():
    entries = {"*": {"any-of": [":d1", ":o", ":d2"]}, ":d1": psk("one"), ":d2": psk("two"), ":o": oscore()}
    assert select(entries, "coaps").dtls.identity == b"one"
    assert select(entries, "coaps").claims == (":d1",)
    assert select(entries, "coap").oscore.label == ":o"
    assert "not configured" in refused(entries, "coaps", usable=frozenset({"oscore"}))
    unusable = {"any-of": [edhoc(method=1), oscore()]}
    assert select({"*": unusable}).oscore.label == "*.any-of[1]"


def test_all_of_gives_both():
    entries = {
        "coaps://*": {"all-of": [{"any-of": [":d", ":o"]}, ":o"]},
        ":d": psk(),
        ":o": oscore(beside={"claims": ["c"]}),
    }
    chosen = select(entries, "coaps")
    assert (chosen.dtls.label, chosen.oscore.label) == (":d", ":o")
    assert chosen.claims == (":o", "c", ":d")


def test_time_limits_are_those_of_the_whole_way():
    timed = {"not-before": "2026-01-01T00:00:00Z", "not-after": "2027-01-01T01:00:00+01:00"}
    begin, end = 1767225600.0, 1798761600.0
    for entries in (
        {"coaps://*": psk(**timed)},
        {"coaps://*": ":a", ":a": psk(**timed)},
        {"coaps://*": {"any-of": [psk()], **timed}},
        {"coaps://*": {"all-of": [":a"]}, ":a": {"any-of": [{"all-of": [psk()], **timed}]}},
    ):
        assert select(entries, "coaps", now=begin).dtls
        assert select(entries, "coaps", now=end - 1).dtls
        assert "not valid" in refused(entries, "coaps", now=begin - 1)
        assert "not valid" in refused(entries, "coaps", now=end)
    assert "not valid" in refused({"*": {"unprotected": True, "not-after": "1970-01-01T00:00:00Z"}})


def test_a_selection_is_not_remembered_beyond_its_end():
    loaded = build({"coaps://*": psk(**{"not-after": "2027-01-01T00:00:00Z"})})
    assert loaded.select("coaps", "h", None, (), GET, now=1_798_761_599.0).dtls
    with pytest.raises(CredentialsMissing):
        loaded.select("coaps", "h", None, (), GET, now=1_798_761_600.0)


def test_an_expired_alternative_gives_way_to_the_next():
    entries = {"*": {"any-of": [psk("old", **{"not-after": "2001-01-01T00:00:00Z"}), psk("new")]}}
    assert select(entries, "coaps").dtls.identity == b"new"


def test_multicast_requests_are_never_sent_where_a_credential_is_meant():
    assert "multicast" in refused({"coap://*": oscore()}, host="224.0.1.187", multicast=True)
    assert "names its authority" in refused({"coaps://*": psk()}, host="ff02::fd", multicast=True)
    assert select({"*": {"unprotected": True}}, multicast=True).plain
    assert select({}, multicast=True).plain


def test_through_a_proxy_only_oscore_protects():
    assert select({"coap://*": oscore()}, proxied=True).oscore
    assert select({"coaps://*": oscore()}, "coaps", proxied=True).oscore
    assert "does not reach through a proxy" in refused({"coaps://*": psk()}, "coaps", proxied=True)
    assert "does not reach through a proxy" in refused({"*": {"all-of": [psk(), oscore()]}}, "coaps", proxied=True)
    assert "needs a credential" in refused({}, "coaps", proxied=True)
    assert select({}, proxied=True).plain


def test_an_any_of_with_unprotected_of_a_server_gives_no_plain_text():
    assert "unprotected" in refused({"*": {"any-of": [{"unprotected": True}]}}, role="server")


def test_results_are_remembered_within_a_bound(monkeypatch):
    monkeypatch.setattr("securecoap.credentials.client._MAXIMUM_REMEMBERED", 3)
    loaded = build({"coap://*": oscore()})
    for index in range(10):
        loaded.select("coap", "h", None, (str(index),), GET, now=NOW)
    assert len(loaded._client._remembered) <= 3
    assert loaded.select("coap", "h", None, ("9",), GET, now=NOW) is loaded.select(
        "coap", "h", None, ("9",), GET, now=NOW
    )


def test_the_pattern_can_be_asked_for():
    loaded = build({"coap://*": oscore(), "coap://*/x": {"unprotected": True}})
    assert loaded.pattern_for("coap", "h", 5683, ("x",), GET) == "coap://*/x"
    assert loaded.pattern_for("coaps", "h", 5683, ("x",), GET) is None


@pytest.mark.parametrize("host", ["sensor.example.", "3221225985", "[fe80::1%25eth0]"])
def test_no_way_to_write_a_host_leads_around_its_credential(host):
    names = ("sensor.example", "192.0.2.1", "[fe80::1]")
    entries = {":key": oscore(), **{f"coap://{one}/door": ":key" for one in names}}
    assert "plain text to it is not meant" in refused(entries, host=host)
    assert select(entries, host=host, segments=("door",)).oscore is not None
