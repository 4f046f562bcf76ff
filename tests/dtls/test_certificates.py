"""Chains: authority, time, purpose, names; and bytes that are no certificate (RFC 5280, RFC 7252 section 9.1.3.3)."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address, ip_network

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from securecoap.credentials.names import has_authority, normal_name
from securecoap.dtls.alerts import Alert, HandshakeFault
from securecoap.dtls.certificates import CLIENT, SERVER, TrustStore, Verified, leaf_key
from securecoap.dtls.identities import Refusal

from .material import AUTHORITY, NOW, Authority, certificate, private_key

AT = NOW.timestamp()
KEY = private_key("p256", "peer")
STORE = TrustStore([AUTHORITY.root], SERVER)
GOOD = AUTHORITY.issue(KEY, "gateway.example")


def refusal(*chain: bytes, store: TrustStore = STORE, at: float = AT) -> Refusal:
    found = store.verify(chain, at)
    assert isinstance(found, Refusal), found
    return found


def test_a_chain_to_the_authority():
    found = STORE.verify((GOOD,), AT)
    assert isinstance(found, Verified)
    assert found.names == ("gateway.example",)
    assert found.anchor == AUTHORITY.root
    assert found.not_after > AT


def names_in(certificate_der: bytes) -> tuple[str, ...]:
    found = STORE.verify((certificate_der,), AT)
    assert isinstance(found, Verified), found
    return found.names


def test_an_intermediate_authority_that_the_peer_sends():
    between = private_key("p384", "between")
    issuer = certificate("between", between, AUTHORITY.name, AUTHORITY.key, is_authority=True)
    leaf = certificate("peer", KEY, "between", between, names=("a.example",))
    assert isinstance(STORE.verify((leaf, issuer), AT), Verified)
    assert isinstance(STORE.verify((leaf, GOOD, issuer), AT), Verified)  # what does not belong there is passed over
    assert refusal(leaf).alert is Alert.UNKNOWN_CA


def test_an_rsa_authority():
    authority = Authority("rsa root", "rsa")
    store = TrustStore([authority.root], SERVER)
    assert isinstance(store.verify((authority.issue(KEY, "a.example"),), AT), Verified)


def test_another_authority():
    assert refusal(Authority("other").issue(KEY, "gateway.example")).alert is Alert.UNKNOWN_CA
    assert refusal(certificate("me", KEY, "me", KEY, names=("gateway.example",))).alert is Alert.UNKNOWN_CA


def test_the_same_name_and_another_key():
    forged = certificate("peer", KEY, AUTHORITY.name, private_key("p256", "forger"), names=("gateway.example",))
    assert refusal(forged).alert is Alert.BAD_CERTIFICATE


@pytest.mark.parametrize(
    ("days", "alert"), [((-2, -1), Alert.CERTIFICATE_EXPIRED), ((1, 2), Alert.CERTIFICATE_EXPIRED)]
)
def test_time(days, alert):
    assert refusal(AUTHORITY.issue(KEY, "gateway.example", days=days)).alert is alert


def test_an_authority_that_has_expired():
    old = Authority("old", days=(-9, -1))
    store = TrustStore([old.root], SERVER)
    assert refusal(old.issue(KEY, "gateway.example", days=(-9, 9)), store=store).alert is Alert.BAD_CERTIFICATE


@pytest.mark.parametrize(
    ("purposes", "servers", "clients"),
    [
        ((), True, True),
        ((ExtendedKeyUsageOID.SERVER_AUTH,), True, False),
        ((ExtendedKeyUsageOID.CLIENT_AUTH,), False, True),
        ((ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH), True, True),
        ((ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,), True, True),
        ((ExtendedKeyUsageOID.CODE_SIGNING,), False, False),
    ],
)
def test_purposes(purposes, servers, clients):
    made = AUTHORITY.issue(KEY, "gateway.example", purposes=purposes)
    for purpose, expected in ((SERVER, servers), (CLIENT, clients)):
        assert isinstance(TrustStore([AUTHORITY.root], purpose).verify((made,), AT), Verified) is expected


def test_what_a_stranger_wrote_into_a_certificate_does_not_break_a_log():
    evil = AUTHORITY.issue(KEY, "gateway.example", subject="x\nWARNING: all is well\x1b[2J", usage=False)
    found = refusal(evil)
    assert found.text.isprintable()
    assert len(found.text) < 400


def test_a_key_that_is_not_for_signatures():
    assert "key usage" in refusal(AUTHORITY.issue(KEY, "gateway.example", usage=False)).text
    assert isinstance(STORE.verify((AUTHORITY.issue(KEY, "gateway.example", usage=None),), AT), Verified)


def test_an_authority_that_names_no_usage_may_certify_and_one_that_names_others_may_not():
    for options, is_taken in (({"usage": None}, True), ({"certifies": False}, False)):
        root = certificate("plain", KEY, "plain", KEY, is_authority=True, **options)
        leaf = certificate("peer", private_key("p256", "leaf"), "plain", KEY, names=("a.example",))
        found = TrustStore([root], SERVER).verify((leaf,), AT)
        assert isinstance(found, Verified) is is_taken, found
        between = private_key("p384", "between")
        issuer = certificate("between", between, AUTHORITY.name, AUTHORITY.key, is_authority=True, **options)
        leaf = certificate("peer", KEY, "between", between, names=("a.example",))
        found = STORE.verify((leaf, issuer), AT)
        assert isinstance(found, Verified) is is_taken, found
    assert isinstance(found, Refusal)
    assert "an authority's key is not meant for certificates" in found.text


def test_an_authority_is_no_peer():
    made = AUTHORITY.issue(KEY, "gateway.example", is_authority=True)
    assert refusal(made).alert is Alert.BAD_CERTIFICATE


def test_a_peer_is_no_authority():
    leaf = certificate("other", private_key("p256", "x"), "peer", KEY, names=("a.example",))
    assert isinstance(STORE.verify((leaf, GOOD), AT), Refusal)


def test_names_are_alternative_names_only():
    assert refusal(AUTHORITY.issue(KEY, subject="gateway.example")).alert is Alert.BAD_CERTIFICATE
    made = AUTHORITY.issue(
        KEY, "GATEWAY.example", "*.example", "192.0.2.2", "2001:db8::0:1", "coaps://gateway.example:5684/", "a@b",
        subject="common.example",
    )  # fmt: skip
    assert names_in(made) == ("gateway.example", "192.0.2.2", "2001:db8::1", "coaps://gateway.example:5684/", "a@b")


def test_a_name_is_of_the_kind_that_it_says():
    """An authority that is constrained to some DNS names certifies no others as URIs, nor addresses as names."""
    uri, dns = x509.UniformResourceIdentifier, x509.DNSName
    wrong = [uri("victim.example"), uri("192.0.2.1"), uri("::1"), dns("192.0.2.1"), dns("[::1]"), dns("::1")]
    wrong.append(dns("coaps://victim.example"))
    for name in wrong:
        made = AUTHORITY.issue(KEY, "a.devices.example", name, "urn://x")
        assert names_in(made) == ("a.devices.example", "urn://x"), name
    good = (uri("urn:dev:mac:0024befffe804ff1"), x509.IPAddress(ip_address("::1")))
    assert names_in(AUTHORITY.issue(KEY, *good)) == ("urn:dev:mac:0024befffe804ff1", "::1")


def test_constraints_of_an_authority_hold_for_whatever_is_taken_for_a_dns_name():
    between = private_key("p256", "constrained")
    constraints = x509.NameConstraints([x509.DNSName("devices.example")], None)
    issuer = certificate(
        "constrained", between, AUTHORITY.name, AUTHORITY.key, is_authority=True, constraints=constraints
    )
    disguised = x509.UniformResourceIdentifier("victim.example")
    made = certificate("peer", KEY, "constrained", between, names=("a.devices.example", disguised))
    found = STORE.verify((made, issuer), AT)
    assert isinstance(found, Verified), found
    assert has_authority(found.names, "a.devices.example", 5684)
    assert not has_authority(found.names, "victim.example", 5684)
    open_breach = certificate("peer", KEY, "constrained", between, names=("victim.example",))
    assert refusal(open_breach, issuer).alert is Alert.BAD_CERTIFICATE


@pytest.mark.parametrize(
    ("permitted", "excluded", "uri", "taken"),
    [
        (["devices.example"], None, "coaps://a.devices.example", True),
        (["devices.example"], None, "coaps://Devices.Example:5700", True),
        (["devices.example"], None, "coaps://victim.example", False),
        (["devices.example"], None, "coaps://xdevices.example", False),
        (["devices.example"], None, "coaps://victim%2Eexample", False),
        (["devices.example"], None, "https://a.devices.example", False),
        (["devices.example"], None, "urn:dev:mac:0024befffe804ff1", True),
        (["devices.example"], None, "coaps://192.0.2.2", True),  # of addresses nothing is said
        ([""], None, "coaps://any.example", True),
        (["devices.example", "192.0.2.0/24"], None, "coaps://192.0.2.2", True),
        (["devices.example", "192.0.2.0/24"], None, "coaps://198.51.100.1", False),
        (["2001:db8::/64"], None, "coaps://[2001:db8::2]", True),
        (["2001:db8::/64"], None, "coaps://[2001:db8:1::2]", False),
        (None, ["victim.example"], "coaps://victim.example", False),
        (None, ["victim.example"], "coaps://www.victim.example", False),
        (None, ["victim.example"], "coaps://other.example", True),
        (None, ["192.0.2.0/24"], "coaps://192.0.2.2", False),
    ],
)
def test_constraints_of_an_authority_hold_for_the_hosts_of_uris(permitted, excluded, uri, taken):
    def subtrees(texts):
        return None if texts is None else [
            x509.IPAddress(ip_network(one)) if "/" in one else x509.DNSName(one) for one in texts
        ]  # fmt: skip

    constraints = x509.NameConstraints(subtrees(permitted), subtrees(excluded))
    top, below = private_key("p256", "constrained"), private_key("p256", "below")
    issuer = certificate("constrained", top, AUTHORITY.name, AUTHORITY.key, is_authority=True, constraints=constraints)
    second = certificate("below", below, "constrained", top, is_authority=True)
    made = certificate("peer", KEY, "below", below, names=(x509.UniformResourceIdentifier(uri),))
    found = STORE.verify((made, second, issuer), AT)
    assert isinstance(found, Verified), found
    assert found.names == ((uri,) if taken else ())


def test_a_crowd_of_names_is_bounded():
    made = AUTHORITY.issue(KEY, *(f"n{number}.example" for number in range(200)))
    assert len(names_in(made)) == 64


@pytest.mark.parametrize(
    ("names", "host", "port", "expected"),
    [
        (("gateway.example",), "gateway.example", 5684, True),
        (("gateway.example",), "GATEWAY.Example.", 1234, True),
        (("gateway.example",), "other.example", 5684, False),
        (("*.example",), "a.example", 5684, False),
        (("192.0.2.2",), "192.0.2.2", 5684, True),
        (("2001:db8::1",), "[2001:DB8:0::1]", 5684, True),
        (("2001:db8::1",), "2001:db8::2", 5684, False),
        (("coaps://gateway.example/",), "gateway.example", 5684, True),
        (("coaps://gateway.example/",), "gateway.example", 5685, False),
        (("coaps://gateway.example:5685",), "gateway.example", 5685, True),
        (("coap://gateway.example:5684",), "gateway.example", 5684, True),
        (("https://gateway.example:5684",), "gateway.example", 5684, False),
        (("coaps://[::1]",), "::1", 5684, True),
        (("nonsense://",), "nonsense", 5684, False),
        ((), "gateway.example", 5684, False),
    ],
)
def test_authorities(names, host, port, expected):
    assert has_authority(tuple(normal_name(name) for name in names), host, port) is expected


def test_keys_of_a_kind_that_is_not_used():
    with pytest.raises(HandshakeFault) as caught:
        leaf_key(AUTHORITY.issue(private_key("ed25519"), "a.example"))
    assert caught.value.alert is Alert.UNSUPPORTED_CERTIFICATE


def test_only_what_is_a_certificate_is_an_authority():
    with pytest.raises(ValueError):
        TrustStore([b"nothing"], SERVER)


def test_the_authorities_are_named():
    assert STORE.encoded_names[2:] == x509.load_der_x509_certificate(AUTHORITY.root).subject.public_bytes()


def signed(certificate: bytes) -> bytes:
    return x509.load_der_x509_certificate(certificate).tbs_certificate_bytes


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_bytes(data):
    """One byte of a sound certificate changed, or anything: a refusal, no exception."""
    changed = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    cut = bytes(changed[: data.draw(st.integers(0, len(changed)))])
    for chain in ((bytes(changed),), (cut,), (GOOD, cut), (data.draw(st.binary(max_size=60)),)):
        found = STORE.verify(chain, AT)
        assert isinstance(found, (Refusal, Verified))
        if chain[0] != GOOD:
            # How the signature itself is encoded, nothing protects: what is signed has to be the same.
            assert isinstance(found, Refusal) or signed(chain[0]) == signed(GOOD)
        with suppress(HandshakeFault):
            leaf_key(chain[0])


def test_what_the_library_takes_with_a_warning_is_not_taken():
    """A serial number of 0: nobody's warning, a refusal."""
    serial = x509.load_der_x509_certificate(GOOD).serial_number
    length = (serial.bit_length() + 8) // 8
    broken = GOOD.replace(serial.to_bytes(length, "big"), bytes(length))
    assert broken != GOOD
    assert refusal(broken).alert is Alert.BAD_CERTIFICATE
    with pytest.raises(HandshakeFault):
        leaf_key(broken)
