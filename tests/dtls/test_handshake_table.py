"""The table of handshakes that both engines have."""

from __future__ import annotations

from math import inf

from securecoap.config import Limits
from securecoap.dtls.handshake_table import HandshakeTable
from securecoap.dtls.session import Role


class One:
    """A handshake, as the table knows it."""

    def __init__(self, peer: object, role: Role) -> None:
        self.peer = peer
        self.role = role
        self.serial = 0
        self.freed = False

    def free(self) -> None:
        self.freed = True


def table(limit: int = 10) -> HandshakeTable:
    return HandshakeTable(Limits(dtls_handshakes=limit))


def test_one_of_each_side_for_each_peer():
    known = table()
    client, server = One("a", Role.CLIENT), One("a", Role.SERVER)
    known.add_client(client)
    known.add_server(server)
    assert known.clients.get("a") is client
    assert known.servers.get("a") is server
    assert known.both("a") == (client, server)
    again = One("a", Role.CLIENT)
    known.add_client(again)
    assert client.freed
    assert client not in known
    assert known.both("a") == (again, server)
    assert len(known) == 2


def test_at_the_bound_a_servers_oldest_goes_and_no_client():
    known = table(2)
    ours = One("ours", Role.CLIENT)
    known.add_client(ours)
    servers = [One(number, Role.SERVER) for number in range(4)]
    for one in servers:
        known.add_server(one)
    assert [one.freed for one in servers] == [True, True, False, False]
    assert not ours.freed
    assert list(known) == [ours, *servers[2:]]


def test_a_retry_at_the_bound_takes_its_own_place():
    known = table(2)
    first, second = One("a", Role.SERVER), One("b", Role.SERVER)
    known.add_server(first)
    known.add_server(second)
    known.add_server(One("b", Role.SERVER))
    assert second.freed
    assert not first.freed


def test_what_is_due_comes_once_and_in_order():
    known = table()
    late, soon = One("a", Role.SERVER), One("b", Role.CLIENT)
    known.add_server(late)
    known.add_client(soon)
    known.due.set(late.serial, 20.0)
    known.due.set(soon.serial, 10.0)
    assert known.due.soonest == 10.0
    assert known.pop_due(9.0) is None
    assert known.pop_due(30.0) is soon
    known.forget(late)
    assert known.pop_due(30.0) is None
    assert known.due.soonest == inf
    assert not late.freed


def test_all_go():
    known = table()
    ones = [One("a", Role.SERVER), One("b", Role.CLIENT)]
    known.add_server(ones[0])
    known.add_client(ones[1])
    known.drop_all()
    assert all(one.freed for one in ones)
    assert len(known) == 0


def test_suspended_ones_are_kept_aside_and_bounded():
    known = table(2)
    ours = [One(number, Role.CLIENT) for number in range(3)]
    for one in ours:
        known.add_client(one)
        known.due.set(one.serial, 1.0)
        known.suspend(one.peer)
    known.suspend("nobody")
    assert len(known) == 0
    assert known.pop_due(2.0) is None
    assert [known.take_up(one.peer) for one in ours] == [None, ours[1], ours[2]]
    assert known.take_up(1) is None
    known.add_client(ours[0])
    known.suspend(0)
    known.drop_all()
    assert known.take_up(0) is None
