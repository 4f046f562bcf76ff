"""Which key signs with what, and what is refused (RFC 5246 section 7.4.1.4.1, RFC 8422 section 5.1.3)."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from securecoap.dtls.alerts import Alert, HandshakeFault
from securecoap.dtls.signatures import (
    CERTIFICATE_SCHEMES,
    RAW_KEY_SCHEMES,
    common_scheme,
    parse_public_key,
    schemes_of,
    sign,
    usable_public_key,
    verify,
)

from .material import private_key, spki

KINDS = {
    "p256": (0x0403, 0x0503),
    "p384": (0x0503, 0x0403),
    "ed25519": (0x0807,),
    "rsa": (0x0804, 0x0805, 0x0401, 0x0501),
}
ALL = (*CERTIFICATE_SCHEMES, 0x0807)


@pytest.mark.parametrize(("kind", "codes"), KINDS.items())
def test_each_key_signs_with_its_schemes(kind, codes):
    key = private_key(kind)
    assert schemes_of(key, ALL) == codes
    for code in codes:
        signature = sign(key, code, b"text")
        verify(key.public_key(), code, signature, b"text", ALL)
        with pytest.raises(HandshakeFault) as caught:
            verify(key.public_key(), code, signature, b"other text", ALL)
        assert caught.value.alert is Alert.DECRYPT_ERROR


@pytest.mark.parametrize("code", [0x0201, 0x0203, 0x0101, 0x0603, 0x0000, 0xFFFF])
def test_schemes_that_are_not_used(code):
    with pytest.raises(HandshakeFault) as caught:
        verify(private_key("p256").public_key(), code, b"", b"", range(0x10000))
    assert caught.value.alert is Alert.ILLEGAL_PARAMETER


def test_a_scheme_has_to_be_offered_and_the_keys_own():
    key = private_key("p256")
    signature = sign(key, 0x0403, b"text")
    for code, allowed in ((0x0403, (0x0503,)), (0x0807, ALL), (0x0401, ALL)):
        with pytest.raises(HandshakeFault):
            verify(key.public_key(), code, signature, b"text", allowed)


@pytest.mark.parametrize(
    "signature", [b"", b"\x30\x00", b"\x30\x06\x02\x01\x00\x02\x01\x00", bytes(72), b"\xff" * 4000]
)
@pytest.mark.parametrize("kind", KINDS)
def test_bytes_that_are_no_signature(signature, kind):
    with pytest.raises(HandshakeFault) as caught:
        verify(private_key(kind).public_key(), KINDS[kind][0], signature, b"text", ALL)
    assert caught.value.alert is Alert.DECRYPT_ERROR


def test_our_order_decides_about_the_scheme():
    assert common_scheme((0x0403, 0x0503), (0x0503, 0x0403)) == 0x0403
    assert common_scheme((0x0403,), (0x0203,)) is None


@pytest.mark.parametrize("kind", ["p256", "p384", "ed25519"])
def test_raw_public_keys(kind):
    assert spki(private_key(kind)) == spki(private_key(kind))
    assert usable_public_key(parse_public_key(spki(private_key(kind))), in_certificate=False)


@pytest.mark.parametrize("kind", ["p521", "rsa"])
def test_raw_public_keys_of_a_kind_that_is_not_used(kind):
    with pytest.raises(HandshakeFault) as caught:
        parse_public_key(spki(private_key(kind)))
    assert caught.value.alert is Alert.UNSUPPORTED_CERTIFICATE


def test_bytes_that_are_no_public_key():
    good = spki(private_key("p256"))
    point = good[-65:]
    one_zero = good[:-65] + b"\x04" + (1).to_bytes(32, "big") + bytes(32)
    for data in (b"", b"\x30\x00", good[:-1], good + b"\x00", one_zero, good[:-65] + bytes(65), point, bytes(2000)):
        with pytest.raises(HandshakeFault) as caught:
            parse_public_key(data)
        assert caught.value.alert is Alert.BAD_CERTIFICATE


def test_what_certificates_may_have():
    assert usable_public_key(private_key("rsa").public_key(), in_certificate=True)
    assert not usable_public_key(private_key("ed25519").public_key(), in_certificate=True)
    assert not usable_public_key(rsa.generate_private_key(65537, 1024).public_key(), in_certificate=True)
    assert not usable_public_key(ec.generate_private_key(ec.SECP256K1()).public_key(), in_certificate=True)


def test_raw_keys_have_no_rsa():
    assert schemes_of(private_key("rsa"), RAW_KEY_SCHEMES) == ()
