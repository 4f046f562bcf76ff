"""Points that are none, and groups that agree (RFC 8422 section 5.4, 5.10 and 5.11; RFC 7748 section 6.1)."""

from __future__ import annotations

import pytest

from securecoap.dtls.alerts import Alert, HandshakeFault
from securecoap.dtls.groups import DEFAULT_GROUPS, GROUPS

from .material import private_key

P256, X25519, P384 = GROUPS[23], GROUPS[29], GROUPS[24]
SIZES = {23: 65, 29: 32, 24: 97}
ORDER = 2**255 - 19


@pytest.mark.parametrize("group", DEFAULT_GROUPS, ids=lambda group: group.name)
def test_both_sides_agree(group):
    ours, theirs = group.draw(), group.draw()
    assert len(ours.public) == SIZES[group.code]
    assert ours.public != theirs.public
    secret = ours.shared_secret(theirs.public)
    assert secret == theirs.shared_secret(ours.public)
    assert len(secret) == (32 if group is not P384 else 48)


@pytest.mark.parametrize("size", [32, 48], ids=["secp256r1", "secp384r1"])
@pytest.mark.parametrize(
    "point",
    [
        lambda size: b"\x04" + (1).to_bytes(size, "big") + bytes(size),  # (1,0), on which tinydtls loops for ever
        lambda size: b"\x04" + bytes(2 * size),
        lambda size: b"\x04" + b"\xff" * (2 * size),
        lambda size: b"\x00",  # infinity
        lambda size: b"\x00" * (2 * size + 1),
        lambda size: b"",
        lambda size: b"\x04",
        lambda size: b"\x04" + bytes(2 * size - 1),
        lambda size: b"\x04" + bytes(2 * size + 1),
        lambda size: b"\x02" + bytes(size),  # compressed
        lambda size: b"\x06" + bytes(2 * size),  # hybrid
    ],
    ids=[
        "(1,0)",
        "(0,0)",
        "ones",
        "infinity",
        "long infinity",
        "empty",
        "head",
        "short",
        "long",
        "compressed",
        "hybrid",
    ],
)
def test_what_is_no_point_is_refused(size, point):
    group = P256 if size == 32 else P384
    with pytest.raises(HandshakeFault) as caught:
        group.draw().shared_secret(point(size))
    assert caught.value.alert is Alert.ILLEGAL_PARAMETER


def test_a_point_beside_the_curve_and_one_of_the_other_curve():
    good = P256.draw().public
    beside = good[:-1] + bytes((good[-1] ^ 1,))
    for point in (beside, P384.draw().public, X25519.draw().public, b"\x05" + good[1:]):
        with pytest.raises(HandshakeFault):
            P256.draw().shared_secret(point)


@pytest.mark.parametrize("value", [0, 1, ORDER - 1, ORDER, ORDER + 1])
def test_points_of_small_order_of_x25519_are_refused(value):
    with pytest.raises(HandshakeFault) as caught:
        X25519.draw().shared_secret(value.to_bytes(32, "little"))
    assert caught.value.alert is Alert.ILLEGAL_PARAMETER


@pytest.mark.parametrize("length", [0, 31, 33, 65])
def test_x25519_has_32_bytes(length):
    with pytest.raises(HandshakeFault):
        X25519.draw().shared_secret(bytes(range(1, 1 + length)))


def test_the_group_that_rfc_7252_demands_is_preferred():
    assert DEFAULT_GROUPS[0].name == "secp256r1"
    assert private_key("p256").curve.name == "secp256r1"
