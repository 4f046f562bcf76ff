"""Which of a name's addresses is taken."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from securecoap.errors import Unreachable
from securecoap.transports.resolver import Resolver

SIX: tuple[Any, ...] = (socket.AF_INET6, socket.SOCK_DGRAM, 17, "", ("::1", 5683, 0, 0))
FOUR: tuple[Any, ...] = (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", 5683))
MAPPED = ("::ffff:127.0.0.1", 5683, 0, 0)


class Names:
    """Stands in for an event loop: one name with two addresses, and a clock."""

    def __init__(self, *found: tuple[Any, ...]) -> None:
        self.now = 1000.0
        self.found = list(found)

    def time(self) -> float:
        return self.now

    async def getaddrinfo(self, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        return self.found


def resolve(names: Names, resolver: Resolver) -> Any:
    return asyncio.run(resolver.resolve("name.example"))


def test_the_first_address_is_taken_until_it_refuses() -> None:
    names = Names(SIX, FOUR)
    resolver = Resolver(names, socket.AF_INET6, "coap")
    assert resolve(names, resolver) == ("::1", 5683, 0, 0)
    resolver.refused(("::1", 5683, 0, 0))
    assert resolve(names, resolver) == MAPPED
    names.now += 31
    assert resolve(names, resolver) == ("::1", 5683, 0, 0)


def test_when_all_refuse_the_one_is_taken_that_did_so_first() -> None:
    names = Names(SIX, FOUR)
    resolver = Resolver(names, socket.AF_INET6, "coap")
    resolver.refused(("::1", 5683, 0, 0))
    names.now += 1
    resolver.refused(MAPPED)
    assert resolve(names, resolver) == ("::1", 5683, 0, 0)


def test_refusals_are_bounded() -> None:
    names = Names(SIX, FOUR)
    resolver = Resolver(names, socket.AF_INET6, "coap")
    resolver.refused(("::1", 5683, 0, 0))
    for port in range(300):
        resolver.refused(("::2", port, 0, 0))
    assert resolve(names, resolver) == ("::1", 5683, 0, 0)


def test_no_address_of_the_family() -> None:
    names = Names(SIX)
    with pytest.raises(Unreachable):
        resolve(names, Resolver(names, socket.AF_INET, "coap"))
