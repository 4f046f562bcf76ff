"""What is looked at of very many entries, and that nothing is overlooked among them."""

from __future__ import annotations

import pytest

from securecoap.credentials import CredentialsMap
from securecoap.credentials.resolution import leaves, notable
from securecoap.errors import CredentialsFault

from .material import oscore, psk

EDHOC = {"edhoc-oscore": {"suite": 2, "method": 3, "peer-cred": {"unauthenticated": True}}}


def key(number, **beside):
    return {**oscore(secret=f"{number:032x}", recipient=f"{number:04x}"), **beside}


def fleet(count):
    return {f":s{number}": key(number) for number in range(1, count)}


def test_an_entry_is_notable_for_more_than_a_shared_key():
    entries = {
        ":plain": key(1),
        ":claims": key(2, claims=["x"]),
        ":ends": key(3, **{"not-after": "2040-01-01T00:00:00Z"}),
        "coap://h/*": key(4),
        ":several": {"any-of": [key(5), key(6)]},
        ":other": ":plain",
        ":psk": psk(identity="plain"),
        ":edhoc": EDHOC,
        ":nobody": {"unprotected": True},
    }
    found = CredentialsMap.from_dict(entries, role="server").entries
    assert list(notable(found)) == [name for name in entries if name not in (":plain", ":psk")]


def test_every_credential_has_its_entry_in_the_order_of_the_file():
    entries = {":a": key(1), ":b": {"any-of": [key(2), {"all-of": [key(3), ":a"]}]}, ":c": psk(identity="c")}
    found = CredentialsMap.from_dict(entries).entries
    assert [(entry.name, one.kind) for entry, one in leaves(found)] == [
        (":a", "oscore"), (":b", "oscore"), (":b", "oscore"), (":c", "dtls"),
    ]  # fmt: skip


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (oscore(secret=f"{7:032x}", recipient="ffff"), "the same sender context as in :s7.oscore"),
        (psk(identity="twice"), "the same identity as in :psk.dtls"),
    ],
)
def test_one_of_many_that_is_there_twice_is_found(entry, text, inside):
    entries = {**fleet(200), ":psk": psk(identity="twice"), ":last": {"any-of": [entry, ":s1"]} if inside else entry}
    with pytest.raises(CredentialsFault) as caught:
        CredentialsMap.from_dict(entries)
    assert text in str(caught.value)


def with_one_recipient_id(count):
    same = {f":t{number}": oscore(secret=f"{number + 1000:032x}", recipient="eeee") for number in range(count)}
    return CredentialsMap.from_dict({**fleet(200), **same}).find_oscore(b"\xee\xee", None, 0.0)


def test_sixteen_may_have_one_recipient_id_and_are_found_in_the_order_of_the_file():
    assert [one.label for one in with_one_recipient_id(16)] == [f":t{number}" for number in range(16)]


def test_seventeen_with_one_recipient_id_are_too_many():
    with pytest.raises(CredentialsFault, match="more than 16 contexts share one recipient-id"):
        with_one_recipient_id(17)


def test_one_secret_under_several_ids_is_no_fault():
    shared = {f":t{number}": oscore(secret="00" * 16, sender=f"{number:02x}", recipient="ff") for number in range(9)}
    assert len(CredentialsMap.from_dict(shared).find_oscore(b"\xff", None, 0.0)) == 9


@pytest.mark.parametrize(("outer", "name"), [(":g", ":g.any-of[0]"), ("coap://h/*", "coap://h/*.any-of[1].all-of[0]")])
def test_no_entry_has_the_name_of_one_inside_of_a_list(outer, name):
    """Whoever proves one of two credentials with one label would have the claims of the other."""
    entries = {":a": key(1), outer: {"any-of": [key(2), {"all-of": [key(3), ":a"]}, ":a"]}, name: key(4)}
    with pytest.raises(CredentialsFault) as caught:
        CredentialsMap.from_dict(entries)
    assert f"{name}: the name is that of an entry inside of a list" in str(caught.value)
    CredentialsMap.from_dict({**entries, outer: {"any-of": [":a", ":a"]}})


def test_keys_of_one_peer_have_its_name():
    CredentialsMap.from_dict({":a": {"any-of": [key(1), key(2)]}})
