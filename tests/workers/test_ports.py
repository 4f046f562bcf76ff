"""A group of sockets on one port: stable for each peer, and nobody else's."""

from __future__ import annotations

import select
import socket
from contextlib import closing

import pytest

from securecoap.binds import parse_bind
from securecoap.errors import ConfigurationError, Unreachable
from securecoap.workers.ports import bind_group, discard_waiting


def test_a_peer_has_always_the_same_socket() -> None:
    group = bind_group(parse_bind("coap://127.0.0.1:0"), 4)
    addresses = {sock.getsockname() for sock in group}
    assert len(addresses) == 1
    (address,) = addresses
    reached = set()
    for _ in range(40):
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as peer:
            peer.connect(address)
            places = set()
            for _ in range(5):
                peer.send(b"x")
                (sock,) = select.select(group, [], [], 30)[0]
                sock.recv(10)
                places.add(group.index(sock))
            assert len(places) == 1
            reached |= places
    assert reached == {0, 1, 2, 3}
    for sock in group:
        sock.close()


def test_every_address_takes_both_families() -> None:
    group = bind_group(parse_bind("coap://[::]:0"), 2)
    port = group[0].getsockname()[1]
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as peer:
        peer.sendto(b"x", ("127.0.0.1", port))
        assert select.select(group, [], [], 30)[0]
    for sock in group:
        sock.close()


def test_a_port_that_somebody_has_is_refused() -> None:
    group = bind_group(parse_bind("coap://127.0.0.1:0"), 2)
    taken = f"coap://127.0.0.1:{group[0].getsockname()[1]}"
    with pytest.raises(Unreachable, match="cannot be bound"):
        bind_group(parse_bind(taken), 2)
    for sock in group:
        sock.close()
    for sock in bind_group(parse_bind(taken), 2):
        sock.close()


def test_a_group_of_hosts_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="each worker would answer"):
        bind_group(parse_bind("coap://224.0.1.187:0"), 2)


def test_what_waited_too_long_is_dropped() -> None:
    (sock,) = bind_group(parse_bind("coap://127.0.0.1:0"), 1)
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as peer:
        for _ in range(10):
            peer.sendto(b"x", sock.getsockname())
        assert select.select([sock], [], [], 30)[0]
        discard_waiting([sock])
        assert not select.select([sock], [], [], 0)[0]
    sock.close()
