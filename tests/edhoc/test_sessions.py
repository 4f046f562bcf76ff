"""The table of sessions: bounds, who goes first, and what is given back."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from securecoap.config import Limits, TransportParameters
from securecoap.credentials import CredentialsMap
from securecoap.credentials.models import EdhocOscore
from securecoap.edhoc.endpoint import EdhocEndpoint
from securecoap.edhoc.engine import Output
from securecoap.edhoc.identifiers import Identifiers
from securecoap.edhoc.sessions import FreshNumbers, Session, Sessions
from securecoap.errors import ConfigurationError, SessionEnded
from securecoap.events import Events
from tests.simulation.clock import virtual

from . import material

if TYPE_CHECKING:
    from collections.abc import Hashable

    from securecoap.errors import CoapError

(KNOWN,) = CredentialsMap.from_dict(material.server()).credentials()
(ANYBODY,) = CredentialsMap.from_dict(material.server(**{"peer-cred": material.ANYBODY})).credentials()
assert isinstance(KNOWN, EdhocOscore)
assert isinstance(ANYBODY, EdhocOscore)


class Table:
    """A table of sessions and what it told."""

    def __init__(self, **limits: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.ended: list[tuple[Session, CoapError]] = []
        self.identifiers = Identifiers(random.Random(1), lambda _: False)
        self.sessions = Sessions(
            self.identifiers,
            self.loop,
            lambda: 0.0,
            Limits(**limits),  # type: ignore[arg-type]  # of both kinds
            lambda session, error: self.ended.append((session, error)),
        )

    def add(self, peer: Hashable = "a", credential: EdhocOscore = KNOWN, seconds: float = 1000.0) -> Session:
        output = Output(bytes(16), bytes(8), b"\xff\xff", self.identifiers.take())
        numbers = FreshNumbers()
        context = self.sessions.context(output, credential, numbers)
        session = Session(context, credential, peer, numbers, self.loop.time() + seconds)
        self.sessions.add(session)
        return session

    def use(self, session: Session) -> None:
        session.context.window.mark(session.context.window.highest + 1)

    def check(self) -> None:
        assert len(self.sessions) == len(self.identifiers) == len(list(self.sessions))
        assert sum(map(len, self.sessions._by_peer.values())) == len(self.sessions)


@virtual
async def test_keys_that_are_new_need_no_echo_and_no_state() -> None:
    table = Table()
    context = table.add().context
    assert not context.window.void
    assert context.window.proven
    assert context.claims == (":device",)
    assert context.sender is not None
    numbers = FreshNumbers()
    assert [numbers.next_number() for _ in range(3)] == [0, 1, 2]
    await numbers.reserve()


@virtual
async def test_identifiers_that_do_not_fit() -> None:
    table = Table()
    for ids in ((b"\x01", b"\x01"), (bytes(8), b"\x01")):
        with pytest.raises(ConfigurationError):
            table.sessions.context(Output(bytes(16), bytes(8), *ids), KNOWN, FreshNumbers())


@virtual
async def test_of_one_peer_the_longest_idle_goes() -> None:
    table = Table(edhoc_sessions_per_peer=3)
    first, second, third = (table.add() for _ in range(3))
    other = table.add("b")
    table.use(first)
    table.use(third)
    table.add()
    assert [session for session, _ in table.ended] == [second]
    assert second.context.retired
    assert not first.context.retired
    table.add()  # nobody was used since: the oldest of those that were not passed over
    assert len(table.ended) == 2
    assert not other.is_ended
    table.check()


@virtual
async def test_of_all_the_longest_idle_goes() -> None:
    table = Table(edhoc_sessions=5)
    sessions = [table.add(peer) for peer in range(5)]
    for session in sessions[:3]:
        table.use(session)
    table.add(9)
    table.add(10)
    assert [session for session, _ in table.ended] == sessions[3:5]
    for session in sessions[:3]:
        table.use(session)
    for peer in range(20, 30):
        table.add(peer)
        table.check()
    assert len(table.sessions) == 5


@virtual
async def test_strangers_push_out_each_other_only() -> None:
    table = Table(edhoc_exchanges=2, edhoc_sessions_per_peer=8)
    known = table.add()
    strangers = [table.add("*", ANYBODY) for _ in range(5)]
    assert [session for session, _ in table.ended] == strangers[:3]
    assert not known.is_ended
    table.check()


@virtual
async def test_sessions_end_in_time() -> None:
    table = Table(edhoc_session_seconds=500.0)
    assert table.sessions.lifetime(KNOWN) == 500.0
    long, short = table.add(seconds=500), table.add(seconds=100)
    table.sessions.end_at(long, table.loop.time() + 200)
    table.sessions.end_at(short, table.loop.time() + 200)  # later than it would end anyway
    await asyncio.sleep(101)
    assert [(session, type(error)) for session, error in table.ended] == [(short, SessionEnded)]
    assert table.sessions.find(short.context.recipient_id) is None
    assert table.sessions.find(long.context.recipient_id) is long
    await asyncio.sleep(100)
    assert [session for session, _ in table.ended] == [short, long]
    table.sessions.end(long, SessionEnded("again"))
    assert len(table.ended) == 2
    await asyncio.sleep(1000)
    table.check()


@virtual
async def test_closing() -> None:
    table = Table()
    for peer in range(3):
        table.add(peer)
    table.sessions.close(SessionEnded("closed"))
    assert len(table.ended) == 3
    table.check()
    assert table.loop.timers() == []  # type: ignore[attr-defined]  # a VirtualLoop


@virtual
async def test_other_credentials() -> None:
    """A credential that is gone ends its sessions; the others have their new claims."""
    released: list[object] = []
    before = CredentialsMap.from_dict(
        {**material.server(), **material.server(":guest", **{"peer-cred": material.ANYBODY})}
    )
    endpoint = EdhocEndpoint(
        before, asyncio.get_running_loop(), random.Random(1), lambda: 0.0, Limits(), TransportParameters(),
        lambda context, error: released.append((context, type(error))), Events(lambda: 0.0), lambda _: None,
    )  # fmt: skip
    found = []
    for credential in before.credentials():
        assert isinstance(credential, EdhocOscore)
        output = Output(bytes(16), bytes(8), b"\xff\xff", endpoint.identifiers.take())
        numbers = FreshNumbers()
        context = endpoint.sessions.context(output, credential, numbers)
        endpoint.sessions.add(Session(context, credential, credential.key, numbers, float("inf")))
        found.append(context)
    endpoint.update(CredentialsMap.from_dict(material.server(beside={"claims": ["reader"]})))
    assert found[0].claims == (":device", "reader")
    assert released == [(found[1], SessionEnded)]
    assert endpoint.find(found[0].recipient_id) is found[0]
    assert endpoint.find(found[1].recipient_id) is None
    await endpoint.close()
    assert len(released) == 2
