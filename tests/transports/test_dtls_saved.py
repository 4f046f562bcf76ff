"""Sealed sessions: what opens them, and rows that are something else (the design, section 6, State)."""

from __future__ import annotations

import asyncio
from time import time as wall_clock
from typing import Any

import pytest

from securecoap.credentials import CredentialsMap
from securecoap.dtls.engine import SavedSession
from securecoap.dtls.parameters import PskCredential
from securecoap.dtls.pending import Pending
from securecoap.transports.dtls_saved import open_sessions, seal_sessions

KNOWN = CredentialsMap.from_dict(
    {
        ":a": {"dtls": {"client-identity": b"a", "psk": b"sixteen byte key"}},
        ":b": {"dtls": {"client-identity": b"b", "psk": b"another long key"}},
    }
)


def credential(identity: bytes) -> PskCredential:
    found = KNOWN.find_psk(identity, 0.0)
    assert found is not None
    return PskCredential(found.identity, found.psk.reveal(), found.claims, found)


class Engine:
    """Stands for a DTLS engine: saves what it is given, and remembers what it was to restore."""

    def __init__(self, saved: list[SavedSession], answer: Any = None) -> None:
        self.saved = saved
        self.answer = answer
        self.restored: list[tuple[SavedSession, Any, float]] = []

    def save(self, _now: float) -> list[SavedSession]:
        return self.saved

    def ask_again(self, evidence: bytes) -> Any:
        if evidence == b"?":
            raise ValueError("no evidence")
        return self.answer

    def restore(self, saved: SavedSession, answer: Any, _now: float, elapsed: float) -> bool:
        self.restored.append((saved, answer, elapsed))
        return True


PEERS = [("192.0.2.1", 5684), ("2001:db8::1", 5684, 0, 3), (("::1", 7, 0, 0), b"packet information")]


def saved(peer: Any = PEERS[0], identity: bytes = b"a") -> SavedSession:
    return SavedSession(peer, b"evidence", b"state", credential(identity).source)


def opened(engine: Engine, rows: list[tuple[float, bytes]]) -> tuple[int, int]:
    return asyncio.run(open_sessions(engine, rows, lambda: 100.0))  # type: ignore[arg-type]  # all that is asked of it


@pytest.mark.parametrize("peer", PEERS)
def test_what_was_sealed_is_opened_with_its_credential(peer: Any) -> None:
    (row,) = seal_sessions(Engine([saved(peer)]), 100.0)  # type: ignore[arg-type]  # as above
    assert b"state" not in row
    engine = Engine([], credential(b"a"))
    assert opened(engine, [(wall_clock() - 50, row)]) == (1, 1)
    ((restored, answer, elapsed),) = engine.restored
    assert restored[:3] == (peer, b"evidence", b"state")
    assert answer is engine.answer
    assert 49 < elapsed < 60


def test_equal_sessions_are_sealed_differently() -> None:
    one, two = seal_sessions(Engine([saved(), saved()]), 100.0)  # type: ignore[arg-type]  # as above
    assert one != two


@pytest.mark.parametrize("answer", [None, credential(b"b"), PskCredential(b"a", b"no source")])
def test_without_its_credential_it_stays_closed(answer: Any) -> None:
    (row,) = seal_sessions(Engine([saved()]), 100.0)  # type: ignore[arg-type]  # as above
    engine = Engine([], answer)
    assert opened(engine, [(0.0, row)]) == (0, 1)
    assert engine.restored == []


def test_rows_that_are_something_else_stop_nobody() -> None:
    (row,) = seal_sessions(Engine([saved()]), 100.0)  # type: ignore[arg-type]  # as above
    changed = [row[:position] + bytes((row[position] ^ 1,)) + row[position + 1 :] for position in range(len(row))]
    junk = [b"", b"\0\0\2{}", b"\0\0\2[]", b"\0\0\x05[1,2]", *changed]
    engine = Engine([], credential(b"a"))
    assert opened(engine, [(0.0, one) for one in (*junk, row)]) == (1, len(junk) + 1)


def test_a_session_without_a_secret_is_not_kept() -> None:
    assert seal_sessions(Engine([saved()._replace(source=None)]), 100.0) == []  # type: ignore[arg-type]  # as above


def test_a_store_may_answer_later_or_never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("securecoap.transports.dtls_saved._PATIENCE", 0.01)
    (row,) = seal_sessions(Engine([saved()]), 100.0)  # type: ignore[arg-type]  # as above

    async def scenario(answers: bool) -> tuple[int, int]:
        engine = Engine([], Pending())
        waiting = asyncio.ensure_future(open_sessions(engine, [(0.0, row)], lambda: 100.0))  # type: ignore[arg-type]  # as above
        await asyncio.sleep(0)
        if answers:
            engine.answer.answer(credential(b"a"), 100.0)
        return await waiting

    assert asyncio.run(scenario(answers=True)) == (1, 1)
    assert asyncio.run(scenario(answers=False)) == (0, 1)
