"""What goes between the parent and a worker: whole values, credentials among them, and nothing shown on the way."""

from __future__ import annotations

import asyncio
import pickle
import socket
import threading

import pytest

from securecoap.credentials import CredentialsMap
from securecoap.workers.channel import Channel, dump, load, pack, receive_first
from securecoap.workers.messages import Boot, Need
from securecoap.workers.numbers import Slot
from tests.loopback import real
from tests.workers.fleet import CREDENTIALS, PSK


def boot(credentials: CredentialsMap | None = None) -> Boot:
    parcel = dump((credentials, {b"name": Slot(8, 32)}))
    return Boot(3, b"s" * 32, 7, parcel, (4, 5), 6, (("coap://[::1]:5683", 9),), {"site": "a:b"})


@real
async def test_values_come_whole_and_in_order() -> None:
    one, two = [await Channel.open(sock) for sock in socket.socketpair()]
    large = Need(bytes(300_000))
    for message in (large, Need(b"a"), None, Need(b"b")):
        one.send(message)
    assert [await two.receive() for _ in range(4)] == [large, Need(b"a"), None, Need(b"b")]
    one.close()
    assert await two.receive() is None
    two.send(Need(b"to nobody"))
    await two.flush()
    two.close()
    await asyncio.sleep(0)


def test_credentials_are_the_same_afterwards() -> None:
    loaded = CredentialsMap.from_dict(CREDENTIALS, role="server")
    copy, slots = load(boot(loaded).parcel)
    assert slots == {b"name": Slot(8, 32)}
    assert [one.key for one in copy.credentials()] == [one.key for one in loaded.credentials()]
    found = copy.find_psk(b"other", 0.0)
    assert found is not None
    assert found.psk.reveal() == bytes.fromhex(PSK)
    assert len(copy.find_oscore(b"\x12", None, 0.0)) == 1


def test_elsewhere_a_key_still_leaves_no_process_by_accident() -> None:
    loaded = CredentialsMap.from_dict(CREDENTIALS, role="server")
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(loaded.credentials())


def test_the_first_value_without_an_event_loop() -> None:
    one, two = socket.socketpair()
    with one, two:
        sender = threading.Thread(target=one.sendall, args=(pack(boot()),))
        sender.start()
        assert receive_first(two) == boot()
        sender.join()
        one.sendall(pack(Need(b"next")))
        assert receive_first(two) == Need(b"next")  # nothing more was read than it has
        one.sendall(pack(Need(bytes(99)))[:50])
        one.close()
        assert receive_first(two) is None


def test_nothing_secret_is_shown() -> None:
    text = repr(boot(CredentialsMap.from_dict(CREDENTIALS, role="server")))
    assert "ssss" not in text
    assert PSK not in text
