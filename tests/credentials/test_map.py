"""The server's look-ups, and maps as values."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from securecoap.credentials import CredentialsMap, OwnNames

from .material import NOW, PSK, build, oscore, psk


def test_peers_are_found_by_identity():
    loaded = build(
        {
            ":outer": ":inner",
            ":inner": psk(claims=["reader"]),
            "coaps://h/*": psk("direct"),
            ":g": {"any-of": [psk("member")]},
        }
    )
    found = loaded.find_psk(b"sensor-17", NOW)
    assert found.psk.reveal().hex() == PSK
    assert found.claims == (":outer", ":inner", "reader")
    assert loaded.find_psk(b"direct", NOW).claims == ("coaps://h/*",)
    assert loaded.find_psk(b"member", NOW).claims == (":g",)
    assert loaded.find_psk(b"stranger", NOW) is None
    assert loaded.serves_dtls


def test_outermost_labels_come_first():
    loaded = build({":a": psk(), ":b": ":a", ":d": ":c", ":c": ":b", ":e": ":a", ":g": {"any-of": [":a"]}, ":h": ":g"})
    assert loaded.find_psk(b"sensor-17", NOW).claims == (":d", ":c", ":b", ":e", ":a")


def test_contexts_are_found_by_kid_and_kid_context():
    first = oscore("01", "aa", **{"id-context": {"hex": "37"}})
    second = oscore("01", "aa", **{"id-context": {"hex": "38"}})
    third = oscore("02", "aa")
    loaded = build({":1": first, ":2": second, ":3": third, ":4": oscore("03", "")})

    def labels(kid, context):
        return [found.label for found in loaded.find_oscore(kid, context, NOW)]

    assert labels(b"\xaa", None) == [":1", ":2", ":3"]
    assert labels(b"\xaa", b"\x37") == [":1"]
    assert labels(b"\xaa", b"") == []
    assert labels(b"", None) == [":4"]
    assert labels(b"\xbb", None) == []


def test_an_empty_id_context_is_not_an_absent_one():
    loaded = build({":1": oscore("01", "aa", **{"id-context": {"hex": ""}}), ":2": oscore("01", "aa")})
    assert [found.label for found in loaded.find_oscore(b"\xaa", b"", NOW)] == [":1"]


def test_candidates_are_bounded():
    contexts = {f":{n}": oscore("01", "aa", **{"id-context": {"hex": f"{n:02x}"}}) for n in range(40)}
    assert len(build(contexts).find_oscore(b"\xaa", None, NOW)) == 16
    assert len(build(contexts).find_oscore(b"\xaa", bytes([39]), NOW)) == 1


def test_expired_credentials_are_not_found():
    timed = {"not-before": "2026-01-01T00:00:00Z", "not-after": "2027-01-01T00:00:00Z"}
    loaded = build({":a": psk(**timed), ":b": oscore(beside=timed), ":c": {"any-of": [psk("member")], **timed}})
    for now, there in ((1767225599.0, False), (1767225600.0, True), (1798761600.0, False)):
        assert bool(loaded.find_psk(b"sensor-17", now)) is there
        assert bool(loaded.find_psk(b"member", now)) is there
        assert bool(loaded.find_oscore(b"\x12", None, now)) is there


def test_a_server_does_not_let_in_those_whom_it_talks_to_as_a_client():
    loaded = build(
        {
            ":device": psk("device"),
            "coaps://upstream/*": psk("me"),
            "coaps://gw/*": psk("own"),
            "coaps://*/x": psk("any"),
        }
    )
    server = loaded.for_server(OwnNames(["192.0.2.1"], ["gw"]))
    assert server.find_psk(b"me", NOW) is None
    assert all(server.find_psk(identity, NOW) for identity in (b"device", b"own", b"any"))
    assert server.select("coaps", "upstream", None, (), 1, now=NOW).dtls.identity == b"me"


def test_credentials_are_followed_across_a_reload():
    before = build({":a": psk("a"), ":b": psk("b"), ":c": oscore()})
    after = build({":a": psk("a", claims=["new"]), ":b": psk("b", key="ff" * 16), ":d": oscore()})
    assert after.generation > before.generation
    kept, rotated = before.find_psk(b"a", NOW), before.find_psk(b"b", NOW)
    assert after.current(kept).claims == (":a", "new")
    assert after.current(rotated) is None
    assert after.current(before.find_oscore(b"\x12", None, NOW)[0]) is None
    selected = build({"coaps://*": ":a", ":a": psk("a")}).select("coaps", "h", None, (), 1, now=NOW).dtls
    assert after.current(selected).label == ":a"


def test_a_map_cannot_be_changed():
    loaded = build({":a": psk()})
    with pytest.raises(TypeError):
        loaded.entries[":b"] = loaded.entries[":a"]
    with pytest.raises(AttributeError):
        loaded.find_psk(b"sensor-17", NOW).identity = b"x"


def test_an_identity_hint_is_sent_only_if_it_is_configured():
    hinted = psk("b")
    hinted["dtls"]["identity-hint"] = {"ascii": "hint"}
    other = psk("c")
    other["dtls"]["identity-hint"] = {"ascii": "other"}
    assert build({":a": psk("a")}).identity_hint is None
    assert build({":a": psk("a"), ":b": hinted}).identity_hint == b"hint"
    assert build({":b": hinted, ":c": other}).identity_hint is None


def test_a_large_fleet_is_found_through_indexes(tmp_path):
    class Identity(bytes):
        comparisons = 0
        __hash__ = bytes.__hash__

        def __eq__(self, other):
            Identity.comparisons += 1
            return bytes.__eq__(self, other)

    count = 2_000
    entries = {f":d{n}": psk(f"d{n}") for n in range(count)}
    entries |= {f":o{n}": oscore("01", f"{n:04x}", secret=f"{n:032x}") for n in range(count)}
    entries |= {f"coap*://*/dev/{n}/*": f":d{n}" for n in range(count)}
    path = tmp_path / "fleet.json"
    path.write_text(json.dumps(entries))
    loaded = CredentialsMap.load(path)
    assert loaded.find_psk(Identity(b"d1999"), NOW).label == ":d1999"
    assert Identity.comparisons <= 3
    assert [found.label for found in loaded.find_oscore(bytes([7, 0xCF]), None, NOW)] == [":o1999"]
    examined = list(loaded.policy._index.find(("dev", "1999", "x")))
    assert [rule.pattern.text for rule in examined] == ["coap*://*/dev/1999/*"]
    assert loaded.policy.decide("coaps", "h", 1, ("dev", "1999", "x"), 1, (":d1999",), NOW) == 0
    assert loaded.policy.decide("coaps", "h", 1, ("dev", "1999", "x"), 1, (":d1998",), NOW) == 0x83


def test_importing_the_room_needs_no_model_library():
    code = "import sys, securecoap.credentials; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
