"""DTLS sessions over a restart of a server: sealed when it ends, opened when it begins (the design, section 6, State).

Each session is sealed under a key that is derived from the secret of its own credential: the pre-shared key, or our
private key. So nobody who has the state without the credentials can read it, and a session whose credential was removed
or got another key cannot be opened, whatever else is checked. What is written is used once: whoever hands it in has
deleted it durably, since a session that began twice from the same bytes would use nonces twice. No IO here.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import os
from time import time as wall_clock
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from securecoap.credentials.models import DtlsPsk, DtlsRpk, DtlsX509
from securecoap.dtls.engine import SavedSession
from securecoap.dtls.pending import Pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from securecoap.dtls.engine import DtlsEngine

__all__ = ["open_sessions", "seal_sessions"]

_SALT_LENGTH: Final = 16
_NONCE: Final = bytes(12)
_PATIENCE: Final = 10.0
"""Seconds for which a store of credentials may think about one session."""

_log = logging.getLogger(__name__)


def seal_sessions(engine: DtlsEngine, now: float) -> list[bytes]:
    """End every session that can go on later, without a word to its peer, and return what is to be written."""
    sealed = []
    for saved in engine.save(now):
        secret = _secret(saved.source)
        if secret is None:
            continue  # it cannot be kept: its peer will notice as it would notice a crash
        head = json.dumps([_route_to_json(saved.peer), saved.evidence.hex()]).encode()
        salt = os.urandom(_SALT_LENGTH)
        # A key of its own for each: the nonce can be constant.
        body = AESGCM(_key(secret, salt)).encrypt(_NONCE, saved.state, head)
        sealed.append(len(head).to_bytes(3, "big") + head + salt + body)
    return sealed


async def open_sessions(
    engine: DtlsEngine, rows: Iterable[tuple[float, bytes]], time: Callable[[], float]
) -> tuple[int, int]:
    """Go on with sessions; return how many do, and how many there were.

    Args:
        engine: whose they were.
        rows: when each was written (seconds since 1970), and what `seal_sessions` gave; deleted durably.
        time: the engine's.
    """
    going_on = total = 0
    for written, row in rows:
        total += 1
        try:
            going_on += await _open(engine, written, row, time)
        except (ValueError, TypeError, IndexError, InvalidTag):  # another version's, or another key's
            continue
    if total:
        _log.info("%d of %d saved DTLS sessions go on", going_on, total)
    return going_on, total


async def _open(engine: DtlsEngine, written: float, row: bytes, time: Callable[[], float]) -> bool:
    length = int.from_bytes(row[:3], "big")
    head, rest = row[3 : 3 + length], row[3 + length :]
    route, shown = json.loads(head)
    evidence = bytes.fromhex(shown)
    answer = engine.ask_again(evidence)
    if isinstance(answer, Pending):
        answer = await _answer_to(answer)
    secret = _secret(getattr(answer, "source", None))
    if secret is None:
        return False
    state = AESGCM(_key(secret, rest[:_SALT_LENGTH])).decrypt(_NONCE, rest[_SALT_LENGTH:], head)
    saved = SavedSession(_route_from_json(route), evidence, state)
    return engine.restore(saved, answer, time(), wall_clock() - written)


async def _answer_to(pending: Pending) -> Any:
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def take(value: Any, _now: float) -> None:
        if not answer.done():
            answer.set_result(value)

    pending.taker = take
    try:
        async with asyncio.timeout(_PATIENCE):
            return await answer
    except TimeoutError:
        return None


def _secret(source: Any) -> bytes | None:
    """The secret of a credential; ``None`` for one that has none."""
    if isinstance(source, DtlsPsk):
        return source.psk.reveal()
    if isinstance(source, DtlsRpk | DtlsX509) and source.private_key is not None:
        return source.private_key.reveal()
    return None


def _key(secret: bytes, salt: bytes) -> bytes:
    """HKDF with SHA-256 (RFC 5869), one block."""
    return hmac.digest(hmac.digest(salt, secret, "sha256"), b"securecoap saved DTLS session\x01", "sha256")


def _route_to_json(peer: Any) -> list[Any]:
    address, local = peer if type(peer[0]) is tuple else (peer, None)
    return [list(address), None if local is None else local.hex()]


def _route_from_json(route: Any) -> Any:
    address, local = tuple(route[0]), route[1]
    if not isinstance(address[0], str) or not all(isinstance(part, int) for part in address[1:]):
        raise TypeError("no address")
    return address if local is None else (address, bytes.fromhex(local))
