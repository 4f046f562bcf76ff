"""A session as bytes, for a server that is about to be restarted, and back (RFC 6347 section 4.1: numbers go on).

Whoever keeps these bytes keeps them secret, and uses them once: a session that began twice from the same bytes would
send two records under one nonce. The credential is not in them; it is asked for again. Must not know where they are
kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.dtls.alerts import HandshakeFault
from securecoap.dtls.cid_records import protections
from securecoap.dtls.engine import SavedSession
from securecoap.dtls.evidence import Evidence
from securecoap.dtls.reader import Reader, vector
from securecoap.dtls.session import Role, Session

if TYPE_CHECKING:
    from securecoap.dtls.identities import Proof
    from securecoap.dtls.parameters import DtlsParameters, PskCredential

__all__ = ["pack_session", "unpack_session"]

_FORM: Final = 1
_MILLISECONDS: Final = 1000


def pack_session(session: Session, evidence: Evidence, now: float) -> SavedSession:
    """Return what is left of a server's session. It must not send or receive any more."""
    read, write = session.read, session.write
    state = b"".join(
        (
            bytes((_FORM,)),
            session.suite.code.to_bytes(2, "big"),
            session.epoch.to_bytes(2, "big"),
            *(vector(secret, 1) for secret in (*read.secret, *write.secret)),
            read.highest.to_bytes(8, "big"),
            read.window.to_bytes(8, "big"),
            write.next_number.to_bytes(8, "big"),
            vector(read.connection_id, 1),
            vector(write.connection_id, 1),
            vector(session.client_random, 1),
            round(max(0.0, now - session.last_seen) * _MILLISECONDS).to_bytes(8, "big"),
        )
    )
    return SavedSession(session.peer, evidence.encode(), state, session.source)


def unpack_session(
    saved: SavedSession, proof: PskCredential | Proof | None, parameters: DtlsParameters, now: float, elapsed: float
) -> Session | None:
    """Return the session; ``None`` without a proof, if it has expired meanwhile, or if the bytes are something else.

    Args:
        saved: from ``pack_session``; its source does not matter.
        proof: what the evidence proves now.
        parameters: of the endpoint: the suite has to be allowed still.
        now: the time.
        elapsed: seconds since ``pack_session``.
    """
    if proof is None:
        return None
    reader = Reader(saved.state)
    try:
        form, code, epoch = reader.integer(1), reader.integer(2), reader.integer(2)
        secrets = [reader.vector(1) for _ in range(4)]
        highest, window, next_number = reader.integer(8), reader.integer(8), reader.integer(8)
        ours, theirs, client_random = reader.vector(1), reader.vector(1), reader.vector(1)
        idle = reader.integer(8) / _MILLISECONDS + max(0.0, elapsed)
        reader.finish()
        evidence = Evidence.decode(saved.evidence)
    except (HandshakeFault, ValueError):
        return None
    suite = parameters.suite(code)
    if form != _FORM or suite is None or idle >= parameters.idle_timeout:
        return None
    read_key, read_iv, write_key, write_iv = secrets
    read, write = protections(suite, (read_key, read_iv), (write_key, write_iv), epoch, ours, theirs)
    read.highest, read.window, write.next_number = highest, window, next_number
    session = Session(
        peer=saved.peer,
        role=Role.SERVER,
        suite=suite,
        read=read,
        write=write,
        credential=proof,
        client_random=client_random,
        now=now,
        evidence=evidence,
    )
    session.last_seen = now - idle
    return session
