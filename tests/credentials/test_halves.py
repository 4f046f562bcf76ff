"""Both halves of a new credential: they fit together, nobody else's fits them, and any process can make them."""

from __future__ import annotations

import pickle

import pytest

from securecoap.credentials import CredentialsMap, making
from securecoap.credentials.authority import Authority
from securecoap.credentials.halves import PAIRED_KINDS, Maker, Order, certified
from securecoap.credentials.making import MakingFault

from .material import GET, NOW

SERVER_KEY = making.key_pair()
SERVER_SET = making.identity_set("server", b"\x00")
SCHEMES = {kind: "coaps" if kind.startswith("dtls") else "coap" for kind in PAIRED_KINDS}


def maker_of(kind: str) -> Maker:
    known = {"dtls-rpk": SERVER_KEY[1], "edhoc-oscore": SERVER_SET["own-cred"]}
    authority = Authority.create("fleet", NOW) if kind == "dtls-x509" else None
    return Maker(kind, known.get(kind), authority, NOW, 30)


def order(number: int = 0) -> Order:
    return Order(f"device-{number}", f"device-{number}", bytes([0x20 + number]))


def of_server(kind: str, half: making.Json, maker: Maker) -> making.Json:
    """The entry that a server's half becomes, or stands in."""
    if kind == "dtls-rpk":
        return {kind: {"private-key": SERVER_KEY[0], "peer-keys": {":device": half}}}
    if kind == "dtls-x509":
        assert maker.authority is not None
        return {kind: {**certified(maker.authority, ("server",), NOW, 30), **half}}
    if kind == "edhoc-oscore":
        return {kind: {**SERVER_SET, **half}}
    return {kind: half}


@pytest.mark.parametrize("kind", PAIRED_KINDS)
def test_both_halves_load(kind: str) -> None:
    maker = maker_of(kind)
    servers, devices = maker.halves(order())
    label = ":own" if kind == "dtls-rpk" else ":device"  # whose raw public keys have labels in its own entry
    server = CredentialsMap.from_dict({label: of_server(kind, servers, maker)})
    device = CredentialsMap.from_dict({f"{SCHEMES[kind]}://*": {kind: devices}})
    assert server.credentials()
    assert device.select(SCHEMES[kind], "h", None, (), GET, now=NOW)
    assert not server.warnings
    assert not device.warnings


def test_what_both_know_is_the_same_and_what_is_one_sides_stays_there() -> None:
    servers, devices = maker_of("dtls").halves(order())
    assert servers == devices
    assert servers is not devices  # one that is changed later changes no other

    servers, devices = maker_of("oscore").halves(order())
    assert servers["secret"] == devices["secret"]
    assert (servers["sender-id"], servers["recipient-id"]) == (devices["recipient-id"], devices["sender-id"])
    assert devices["sender-id"] == {"hex": "20"}

    maker = maker_of("dtls-rpk")
    servers, devices = maker.halves(order())
    assert "private-key" in devices
    assert "private-key" not in servers
    assert devices["peer-keys"] == [maker.server]

    maker = maker_of("dtls-x509")
    servers, devices = maker.halves(order())
    assert servers["ca"] == devices["ca"]
    assert servers["peer-names"] == ["device-0"]
    assert "private-key" not in servers

    servers, devices = maker_of("edhoc-oscore").halves(order())
    assert servers["peer-cred"] == devices["own-cred"]
    assert devices["peer-cred"] == SERVER_SET["own-cred"]
    assert "private-key" not in servers


@pytest.mark.parametrize("kind", PAIRED_KINDS)
def test_no_two_have_a_key_in_common(kind: str) -> None:
    secret = {"dtls": "psk", "oscore": "secret"}.get(kind, "private-key")
    maker = maker_of(kind)
    keys = [repr(maker.halves(order(number))[1][secret]) for number in range(8)]
    assert len(set(keys)) == 8


@pytest.mark.parametrize("kind", sorted(set(PAIRED_KINDS) - {"dtls-x509"}))
def test_another_process_can_make_them(kind: str) -> None:
    """All but the key of an authority can be handed over; each of `cli.bulk`'s processes reads that for itself."""
    maker, what = pickle.loads(pickle.dumps((maker_of(kind), order(3))))  # of our own making
    assert what == order(3)
    assert all(maker.halves(what))


def test_what_cannot_be_made_is_said() -> None:
    with pytest.raises(MakingFault, match="certification authority"):
        Maker("dtls-x509").halves(order())
    with pytest.raises(MakingFault, match="ASCII"):
        Maker("dtls").halves(Order("gerät", "gerät"))
    with pytest.raises(MakingFault, match="name"):
        maker_of("dtls-x509").halves(Order("no name"))


def test_no_key_is_in_a_text() -> None:
    maker = maker_of("dtls-x509")
    assert maker.authority is not None
    assert "authority" not in repr(maker)
    assert maker.authority.pem().decode() not in repr(maker)
