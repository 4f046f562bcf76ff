"""The kind ``edhoc-oscore``, who is found by it, and what it means for a policy."""

from __future__ import annotations

import cbor2
import pytest

from securecoap.credentials import CredentialsMap
from securecoap.credentials.ccs import MAXIMUM_CCS, Ccs, is_on_p256, private_scalar, public_x
from securecoap.credentials.keys import KeyFault
from securecoap.errors import CredentialsFault

from .material import EDHOC_KEY, EDHOC_OWN, EDHOC_PEER, EDHOC_PEER_KEY, GET, NOW, build, edhoc

SCALAR = bytes.fromhex(EDHOC_KEY["-4"]["hex"])
# CRED_I of RFC 9529, trace 2, as the RFC prints it.
CRED_I = bytes.fromhex(
    "a2027734322d35302d33312d46462d45462d33372d33322d333908a101a5010202412b2001215820ac75e9ece3e50bfc8ed60399889522405c47"
    "bf16df96660a41298cb4307f7eb62258206e5de611388a4b8a8211334ac7d37ecb52a387d257e6db3c2a93df21ff3affc8"
)
SERVER = {"own-cred": EDHOC_PEER, "own-cred-style": "by-value", "private-key": EDHOC_PEER_KEY, "peer-cred": EDHOC_OWN}


def only(entry):
    (found,) = build({":a": entry}).credentials()
    return found


def faults(entry):
    with pytest.raises(CredentialsFault) as caught:
        build({":a": entry})
    return caught.value.faults


def test_the_claims_set_of_the_rfc():
    found = only(edhoc())
    assert found.own.ccs.encoded == CRED_I
    assert found.own.ccs.kid == b"\x2b"
    assert found.own.private_key.reveal() == SCALAR
    assert not found.own.by_value
    assert found.peer.kid == b"\x32"
    assert found.combined
    assert not only(edhoc(**{"use-combined-edhoc": False})).combined
    assert SCALAR.hex() not in repr(found)


def test_the_same_in_the_form_of_python():
    """aiocoap's API has whole numbers as keys, and byte strings."""
    python = {14: cbor2.loads(CRED_I)}
    key = {1: 2, -1: 1, -4: SCALAR}
    assert only(edhoc(**{"own-cred": python, "private-key": key})).own == only(edhoc()).own


@pytest.mark.parametrize(
    "text",
    [
        cbor2.dumps({1: 2, -1: 1, -4: SCALAR}),
        b"{1: 2, -1: 1, -4: h'%b'}\n" % SCALAR.hex().encode(),
        b" { 1:2,-1:1,-4:h'%b' } " % SCALAR.hex(" ").encode(),
    ],
)
def test_a_key_stands_in_the_file_or_beside_it(tmp_path, text):
    (tmp_path / "key").write_bytes(text)
    sets = edhoc(**{"private-key": None, "private-key-file": "key"})
    (found,) = CredentialsMap.from_dict({":a": sets}, base=tmp_path).credentials()
    assert found.own == only(edhoc()).own
    sets["edhoc-oscore"]["private-key"] = EDHOC_KEY
    with pytest.raises(CredentialsFault, match="exclude each other"):
        CredentialsMap.from_dict({":a": sets}, base=tmp_path)


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"own-cred-style": None}, "belong together"),
        ({"private-key": None}, "belong together"),
        ({"private-key": EDHOC_PEER_KEY}, ".own-cred: the private key does not belong to it"),
        ({"private-key": {"1": 2, "-1": 1, "-4": {"hex": "00" * 32}}}, ".private-key: a private key that is not in"),
        ({"private-key": {"1": 2, "-1": 1, "-4": {"hex": "01"}}}, "32 bytes"),
        ({"private-key": {"1": 1, "-1": 1, "-4": {"hex": "01"}}}, "no private COSE key on P-256"),
        ({"private-key": "x"}, "a COSE key as an object"),
        ({"private-key-file": "x", "private-key": None}, "no such file"),
        ({"own-cred-style": []}, "by-key-id or by-value"),
        ({"own-cred": {"unauthenticated": True}}, "goes without a key"),
        ({"own-cred": None, "own-cred-style": None, "private-key": None, "peer-cred": None}, "are expected"),
        ({"peer-cred": EDHOC_OWN}, ".peer-cred: the same key as own-cred"),
        ({"peer-cred": {"14": {}}}, ".peer-cred: no claims set with a COSE key"),
        ({"peer-cred": {"33": {"hex": "00"}}}, ".peer-cred: a CWT claims set is expected"),
        ({"peer-cred": {"unauthenticated": 5}}, ".peer-cred: a CWT claims set is expected"),
        ({"peer-cred": {"14": [1]}}, "a whole number or a byte value is expected"),
        ({"peer-cred": {"14": {"8": {"hex": "x"}}}}, ".peer-cred.14.8: not an even number of hexadecimal digits"),
        ({"peer-cred": {"14": 1.5}}, "a byte value is expected"),
        ({"suite": 2.0}, ".suite: a whole number"),
    ],
)
def test_faults(members, text):
    found = faults(edhoc(**members))
    assert any(text in fault for fault in found), found


def claims_set(subject="x", kid=b"\x01", **changes):
    numbers = Ccs.parse(CRED_I)
    key = {1: 2, 2: kid, -1: 1, -2: numbers.x}
    key.update({int(name[1:]) * (-1 if name[0] == "m" else 1): value for name, value in changes.items()})
    return {2: subject, 8: {1: {name: value for name, value in key.items() if value is not None}}}


@pytest.mark.parametrize(
    "content",
    [
        claims_set(kid=None), claims_set(kid=b""), claims_set(kid=bytes(17)), claims_set(kid=1), claims_set("x" * 150),
        claims_set(subject=3), claims_set(p1=1), claims_set(m1=2), claims_set(m2=b"\xff" * 32), claims_set(m2=bytes(31)),
        claims_set(m2=5), claims_set(m3=bytes(32)), claims_set(p9=1), claims_set(p3=-7), {8: {1: {}}}, {8: {}}, {8: 1},
        {**claims_set(), 1: "issuer"}, {"8": {}}, {8: {1: claims_set()[8][1], 3: b"x"}},
    ],
)  # fmt: skip
def test_claims_sets_that_are_none(content):
    with pytest.raises(KeyFault):
        Ccs.compose(content)


def test_claims_sets_of_a_peer():
    encoded = cbor2.dumps(claims_set())
    assert Ccs.parse(encoded).kid == b"\x01"
    for wrong in (
        encoded + b"\x00",
        encoded[:-1],
        b"",
        b"\xff",
        b"\x14",
        b"\xa0",
        bytes(MAXIMUM_CCS + 1),
        b"\x9f" * 150,
    ):
        with pytest.raises(KeyFault):
            Ccs.parse(wrong)
    with pytest.raises(KeyFault):  # not the shortest form
        Ccs.parse(encoded.replace(b"\x02\x02\x41\x01", b"\x02\x18\x02\x41\x01"))


def test_points():
    x = public_x(SCALAR)
    assert is_on_p256(x)
    assert not is_on_p256(x, bytes(32))
    assert not is_on_p256(x[:31])
    assert not is_on_p256(b"")
    # x of RFC 9529, section 4: not below the field's prime, and not on the curve.
    for wrong in (
        "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
        "a04e73601df544a70ba7ea1e57030f7d4b4eb7f673924e58d54ca77a5e7d4d4a",
    ):
        assert not is_on_p256(bytes.fromhex(wrong))


@pytest.mark.parametrize(
    "text", [b"{1: 2", b"{}", b"{1: 2, -1: 1, -4: h'0'}", b"{1: 2, -1: 1, -4: [1]}", b"", b"\xa0", b"\xff", b"[1]"]
)
def test_keys_that_are_none(text):
    with pytest.raises(KeyFault):
        private_scalar(text)


def test_peers_are_found_by_what_message_3_has():
    peers = build({":device": {"edhoc-oscore": {"suite": 2, "method": 3, **SERVER}}}).edhoc
    assert peers
    assert peers.identity(NOW).by_value
    assert peers.by_kid(b"\x2b", NOW).label == ":device"
    assert peers.by_value(CRED_I, NOW).label == ":device"
    assert peers.by_kid(b"\x32", NOW) is None
    assert peers.by_value(CRED_I[:-1], NOW) is None
    assert peers.anyone(NOW) is None


def test_aiocoaps_form_of_a_server():
    """The identity stands under the server's URI and has no peer, the peers have no identity."""
    identity = {name: value for name, value in SERVER.items() if name != "peer-cred"}
    entries = {
        "coap://[::1]/*": {"edhoc-oscore": {"suite": 2, "method": 3, **identity}},
        ":device": {"edhoc-oscore": {"suite": 2, "method": 3, "peer-cred": EDHOC_OWN}},
    }
    found = build(entries)
    assert found.edhoc.identity(NOW).ccs.kid == b"\x32"
    assert found.edhoc.by_kid(b"\x2b", NOW).label == ":device"
    # The pattern says who we are: whoever is known may come, and nobody else.
    for claims, decision in (((), 0x81), ((":device",), 0), ((":psk",), 0)):
        assert found.policy.decide("coap", "::1", 5683, ("x",), GET, claims, NOW) == decision


def test_what_is_ambiguous_or_not_valid_is_nobody():
    server = {"edhoc-oscore": {"suite": 2, "method": 3, **SERVER}}
    twice = build({":a": server, ":b": server}).edhoc
    assert twice.by_kid(b"\x2b", NOW) is None
    assert twice.by_value(CRED_I, NOW) is None
    past = build({":a": {**server, "not-after": "2001-01-01T00:00:00Z"}}).edhoc
    assert past.by_kid(b"\x2b", NOW) is None
    assert past.identity(NOW) is None
    assert not build({":a": {"edhoc-oscore": {"suite": 2, "method": 3, "peer-cred": EDHOC_OWN}}}).edhoc
    assert not build({":a": {"edhoc-oscore": {**SERVER, "suite": 3, "method": 3}}}).edhoc


def test_peers_of_another_identity_are_not_accepted():
    other = edhoc(**{"peer-cred": EDHOC_PEER, "own-cred-style": "by-value"})  # we are the initiator there
    peers = build({":device": {"edhoc-oscore": {"suite": 2, "method": 3, **SERVER}}, ":other": other}).edhoc
    assert peers.by_kid(b"\x2b", NOW).label == ":device"
    assert peers.by_kid(b"\x32", NOW) is None
    assert [one.label for one in peers.unheard] == [":other"]


def test_a_peer_that_may_be_anybody_opens_only_what_asks_for_it():
    guest = {"edhoc-oscore": {"suite": 2, "method": 3, **SERVER, "peer-cred": {"unauthenticated": True}}}
    found = build({":guest": guest, "coap://*/lobby": ":guest", "coap://*/open": {"unprotected": True}})
    assert found.edhoc.anyone(NOW).label == ":guest"
    assert any("may be anybody" in warning for warning in found.warnings)
    for path, decision in (("lobby", 0), ("open", 0), ("elsewhere", 0x83)):
        assert found.policy.decide("coap", "h", 5683, (path,), GET, (":guest",), NOW) == decision
    assert "proves nothing" in faults({**guest, "claims": ["admin"]})[0]


def test_a_client_needs_both_sides():
    found = build({"coap://h/*": edhoc()}).select("coap", "h", None, ("x",), GET, now=NOW)
    assert found.oscore.peer.kid == b"\x32"
    assert found.claims == ("coap://h/*",)
