"""What becomes of DTLS sessions when the credentials are replaced while they live.

A session whose credential is still there, with the same label and key, goes on, with the claims that it has now. Where
a server's entry has changed but for what this peer has shown (another peer was added to it, say), the stores are asked
again about that, as they are at a resumption. Every other session ends. A client that stayed anonymous (it was
not asked for a certificate, RFC 5246 section 7.4.4) has no credential that could be gone, and no claims: its session
goes on. Must not know sockets, files or messages.
"""

from __future__ import annotations

from dataclasses import replace
from time import time as wall_clock
from typing import TYPE_CHECKING, Any

from securecoap.credentials.models import DtlsCredential, DtlsPsk, DtlsX509
from securecoap.dtls.engine import EndReason
from securecoap.dtls.session import Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from securecoap.dtls.engine import DtlsEngine
    from securecoap.transports.dtls_watch import SessionWatch

    Current = Callable[[Any], Any]
    """What the credentials of the moment have for one of earlier ones, or ``None``."""

__all__ = ["is_gone", "renew_sessions"]


def is_gone(session: Any, current: Current | None) -> bool:
    """Whether the credential of a session went while the handshake was under way; ``None`` before any reload."""
    return current is not None and session.source is not None and current(session.source) is None


def renew_sessions(engine: DtlsEngine, watch: SessionWatch, current: Current) -> None:
    """End the sessions of credentials that are gone or not valid now; give the others their new claims."""
    now = wall_clock()
    for session in list(engine.sessions()):
        source: DtlsCredential | None = session.source
        if source is None:
            continue
        found = current(source)
        claims: tuple[str, ...]
        if isinstance(found, DtlsCredential):
            claims = _claims_now(found, source, session.claims)
        else:
            found, claims = _shown_again(engine, session)
        if found is None:
            engine.close(session, EndReason.REVOKED)
        elif not found.validity.covers(now):
            engine.close(session, EndReason.EXPIRED)
        else:
            if isinstance(found, DtlsX509):  # nor for longer than its certificates are valid
                found = replace(found, validity=found.validity.meet(source.validity))
            session.source = replace(found, authority=source.authority)
            session.claims = claims
            if session.owner is not None:
                session.owner.authenticated_claims = claims
            if found.validity.not_after < source.validity.not_after:
                watch.watch_validity(session)


def _claims_now(found: DtlsCredential, source: DtlsCredential, claims: tuple[str, ...]) -> tuple[str, ...]:
    """The claims of a session that was made with ``source``: beside the entry's there are names that were proved."""
    labels, own = source.labels, source.own_claims
    if claims[: len(source.claims)] == source.claims:
        return (*found.claims, *claims[len(source.claims) :])  # certified names
    return (*found.labels, *claims[len(labels) : len(claims) - len(own)], *found.own_claims)  # one of several keys


def _shown_again(engine: DtlsEngine, session: Any) -> tuple[DtlsCredential | None, tuple[str, ...]]:
    evidence = getattr(session, "evidence", None)  # one engine keeps none
    if session.role is Role.CLIENT or evidence is None or isinstance(session.source, DtlsPsk):
        return None, ()  # an identity alone shows nothing
    answer = engine.ask_again(evidence.encode())
    found: Any = getattr(answer, "source", None)
    before = session.source
    if type(found) is not type(before) or found.label != before.label:
        return None, ()
    return found, answer.claims
