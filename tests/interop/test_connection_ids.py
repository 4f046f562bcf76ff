"""A client whose address changes on the way, as behind a translator: with and without a connection ID (RFC 9146).

No packaged peer has connection IDs in DTLS 1.2, so both ends are ours, in two processes; what was on the wire is said by
Wireshark's dissector, which opens the records with the key log.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from securecoap import Context
from securecoap.config import TransportParameters
from tests.interop.harness import DTLS, SERVER_CREDENTIALS, Ours
from tests.interop.relay import Relay

if TYPE_CHECKING:
    from pathlib import Path

IMPATIENT = TransportParameters(ack_timeout=0.4)
HANDSHAKE, APPLICATION_DATA, TLS12_CID = 22, 23, 25


def client(port: int, **options: Any) -> Context:
    return Context.client(credentials={f"coaps://127.0.0.1:{port}/*": {"dtls": DTLS}}, **options)


def kinds(relay: Relay, begin: int, *, inwards: bool) -> set[int]:
    return {data[0] for way, data in relay.datagrams[begin:] if way is inwards}


def test_a_session_goes_on_from_another_port(ours: Ours) -> None:
    _, ports = ours.serve("coaps", credentials=SERVER_CREDENTIALS)

    async def scenario(relay: Relay) -> None:
        uri = f"coaps://127.0.0.1:{relay.port}/hello"
        async with client(relay.port) as coap:
            first = await coap.get(uri)
            for _ in range(3):
                begin = len(relay.datagrams)
                relay.move()
                again = await coap.get(uri)
                assert again.payload == b"hello"
                assert again.remote is first.remote
                large = await coap.get(
                    f"coaps://127.0.0.1:{relay.port}/large"
                )  # 64 KiB: more than an unproven address gets
                assert len(large.payload) == 65536
                assert kinds(relay, begin, inwards=True) == {TLS12_CID}
                assert kinds(relay, begin, inwards=False) == {APPLICATION_DATA}

    with Relay(ports["coaps"]) as relay:
        asyncio.run(scenario(relay))


def test_an_observation_goes_on_from_another_port(ours: Ours) -> None:
    _, ports = ours.serve("coaps", credentials=SERVER_CREDENTIALS)

    async def scenario(relay: Relay) -> None:
        async with client(relay.port) as coap:
            notifications = 0
            async for _ in coap.observe(f"coaps://127.0.0.1:{relay.port}/time"):
                notifications += 1
                if notifications == 2:
                    begin = len(relay.datagrams)
                    relay.move()
                    await coap.get(f"coaps://127.0.0.1:{relay.port}/hello")  # the server learns where we are
                if notifications == 4:
                    break
            assert HANDSHAKE not in kinds(relay, begin, inwards=True)

    with Relay(ports["coaps"]) as relay:
        asyncio.run(asyncio.wait_for(scenario(relay), 60))


def test_without_a_connection_id_the_client_shakes_hands_again(ours: Ours) -> None:
    """tinydtls has none: the server knows nobody at the new port, and the client notices within its request."""
    pytest.importorskip("DTLSSocket")
    _, ports = ours.serve("coaps", credentials=SERVER_CREDENTIALS)

    async def scenario(relay: Relay) -> None:
        uri = f"coaps://127.0.0.1:{relay.port}/hello"
        async with client(relay.port, engine="tinydtls", parameters=IMPATIENT) as coap:
            first = await coap.get(uri)
            begin = len(relay.datagrams)
            relay.move()
            again = await coap.get(uri)
            assert again.payload == b"hello"
            assert again.remote is not first.remote
            assert HANDSHAKE in kinds(relay, begin, inwards=True)

    with Relay(ports["coaps"]) as relay:
        asyncio.run(scenario(relay))


def test_wireshark_opens_records_with_a_connection_id(ours: Ours, tmp_path: Path) -> None:
    _, ports = ours.serve("coaps", credentials=SERVER_CREDENTIALS)
    keylog = tmp_path / "keys.log"

    async def scenario(relay: Relay) -> None:
        async with client(relay.port, keylog=keylog) as coap:
            await coap.get(f"coaps://127.0.0.1:{relay.port}/hello")

    with Relay(ports["coaps"]) as relay:
        asyncio.run(scenario(relay))
        dissected = relay.dissect(
            tmp_path, "-o", f"tls.keylog_file:{keylog}", "-d", f"udp.port=={relay.port},dtls", "-d",
            f"dtls.port=={relay.port},coap", "-T", "fields", "-e", "dtls.record.content_type", "-e",
            "dtls.record.connection_id", "-e", "coap.code", "-e", "coap.payload",
        )  # fmt: skip
    named = [line.split("\t") for line in dissected if line.split("\t")[1]]
    assert named, dissected
    assert all(len(line[1]) == 12 for line in named), dissected  # six bytes
    assert any(line[2] == "1" for line in named), dissected  # a GET, in a record that was opened
