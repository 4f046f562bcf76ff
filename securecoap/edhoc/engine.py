"""One EDHOC session, by lakers: an initiator and a responder, from the first message to OSCORE's keys.

lakers is an optional package, written in Rust; it raises several kinds of exceptions and, where its own checks end, a
panic that is no `Exception`. Here everything that comes of a peer's message is an `EdhocError`, after which the session
is over (RFC 9528 section 6). What lakers cannot do is refused before it is asked: `messages` and `credentials.ccs` have
looked at points, lengths and claims sets. Each object serves one session, and gives no key away but its output.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from securecoap.credentials.ccs import Ccs, new_private_key, public_x
from securecoap.credentials.keys import KeyFault
from securecoap.credentials.models import EdhocIdentity
from securecoap.credentials.secret import Secret
from securecoap.edhoc.messages import MAXIMUM_IDENTIFIER, EdhocError, parse_ciphertext, parse_message_2
from securecoap.errors import CredentialsMissing

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Initiator", "Output", "Responder", "anonymous_identity", "claims_set_of", "kid_of", "parse_claims_set"]

_KEY_LENGTH: Final = 16  # of suite 2's application AEAD, AES-CCM-16-64-128 (appendix A.1)
_SALT_LENGTH: Final = 8
_SECRET_LABEL, _SALT_LABEL = 0, 1
_BY_VALUE: Final = b"\xa1\x0e"  # {14: claims set}
_BY_KID: Final = b"\xa1\x04"  # {4: kid}


@dataclass(frozen=True, slots=True)
class Output:
    """What a session is for: the input of an OSCORE context (appendix A.1).

    Attributes:
        sender_id: the identifier that the peer chose.
        recipient_id: the one that we chose.
    """

    secret: bytes = field(repr=False)
    salt: bytes = field(repr=False)
    sender_id: bytes
    recipient_id: bytes


def _load() -> Any:
    try:
        # An optional library, loaded where it is used; it has no types.
        import lakers  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError as error:
        raise CredentialsMissing("EDHOC needs lakers-python: install securecoap[edhoc]") from error
    return lakers


def require() -> None:
    """Find out at a start what each handshake would find out.

    Raises:
        CredentialsMissing: lakers is not installed.
    """
    _load()


@contextmanager
def _guarded(what: str) -> Iterator[None]:
    """Turn whatever lakers raises into an `EdhocError` whose text has nothing of the message."""
    try:
        yield
    except EdhocError:
        raise
    except Exception as error:  # noqa: BLE001  # lakers has no class of its own for what it refuses
        reason = str(error)
        known = reason.removeprefix("EDHOCError::") if reason.startswith("EDHOCError::") else "failed"
        raise EdhocError(f"{what}: {known if known.isalnum() else 'failed'}") from None
    except BaseException as error:
        # A panic of Rust, which PyO3 derives from BaseException: caused by a peer's message it is an error like others.
        if type(error).__name__ != "PanicException":
            raise
        raise EdhocError(f"{what}: failed") from None


def anonymous_identity() -> EdhocIdentity:
    """Who we are when we stay unauthenticated: a new key each time (section D.5), and a name that says nothing."""
    scalar = new_private_key()
    key = {1: 2, 2: b"?", -1: 1, -2: public_x(scalar)}  # lakers wants a kid
    return EdhocIdentity(Ccs.compose({2: "", 8: {1: key}}), Secret(scalar), by_value=True)


def kid_of(id_cred: bytes) -> bytes | None:
    """The kid, if a credential was sent by reference (section 3.5.3)."""
    if id_cred[:2] != _BY_KID or len(id_cred) < 4:
        return None
    return id_cred[3:] if id_cred[2] & 0xE0 == 0x40 and id_cred[2] & 0x1F == len(id_cred) - 3 else None


def claims_set_of(id_cred: bytes) -> bytes | None:
    """The claims set, encoded, if a credential was sent by value."""
    return id_cred[2:] if id_cred[:2] == _BY_VALUE else None


def _no_critical(items: Any) -> None:
    if any(item.is_critical() for item in items):
        raise EdhocError("external authorization data is critical and not known")  # section 3.8


class Initiator:
    """The side that begins: message_1, message_2, message_3, perhaps message_4.

    Args:
        identity: what we are known by.

    Raises:
        CredentialsMissing: lakers is not installed.
    """

    def __init__(self, identity: EdhocIdentity) -> None:
        self._lakers = _load()
        self._identity = identity
        self._run = self._lakers.EdhocInitiator()
        self._c_i = b""
        self._c_r = b""

    def message_1(self, c_i: bytes) -> bytes:
        """Compose message_1 with our connection identifier."""
        self._c_i = c_i
        with _guarded("message_1"):
            return bytes(self._run.prepare_message_1(c_i))

    def take_message_2(self, data: bytes) -> bytes:
        """Read message_2; the peer's ID_CRED_R, which is not verified yet.

        Raises:
            EdhocError: it does not decode.
        """
        parse_message_2(data)
        with _guarded("message_2"):
            c_r, id_cred, ead = self._run.parse_message_2(data)
            self._c_r = bytes(c_r)
            _no_critical(ead)
        if len(self._c_r) > MAXIMUM_IDENTIFIER or self._c_r == self._c_i:
            raise EdhocError("C_R is too long, or the same as C_I (section 3.3.3)")
        return bytes(id_cred)

    @property
    def c_r(self) -> bytes:
        """The identifier that the peer chose; empty before message_2."""
        return self._c_r

    def message_3(self, peer: Ccs) -> bytes:
        """Verify message_2 with the peer's credential, and compose message_3.

        Raises:
            EdhocError: somebody else composed message_2.
        """
        transfer = self._lakers.CredentialTransfer
        style = transfer.ByValue if self._identity.by_value else transfer.ByReference
        with _guarded("message_2 does not verify"):
            self._run.verify_message_2(self._identity.private_key.reveal(), self._identity.ccs.encoded, peer.encoded)
            message, _ = self._run.prepare_message_3(style)
            return bytes(message)

    def finish(self, message_4: bytes | None = None) -> Output:
        """End with message_4, or without it where OSCORE will confirm the keys.

        Raises:
            EdhocError: message_4 does not verify.
        """
        if message_4 is not None:
            parse_ciphertext(message_4, "message_4")
        with _guarded("message_4"):
            if message_4 is None:
                self._run.completed_without_message_4()
            else:
                _no_critical(self._run.process_message_4(message_4))
            return _output(self._run, self._c_r, self._c_i)


class Responder:
    """The side that is asked.

    Args:
        identity: what we are known by.

    Raises:
        CredentialsMissing: lakers is not installed.
    """

    def __init__(self, identity: EdhocIdentity) -> None:
        self._lakers = _load()
        self._identity = identity
        with _guarded("our credential"):
            self._run = self._lakers.EdhocResponder(identity.private_key.reveal(), identity.ccs.encoded)
        self._c_i = b""
        self._c_r = b""

    def take_message_1(self, data: bytes) -> bytes:
        """Take a message_1 that `messages.parse_message_1` took; C_I.

        Raises:
            EdhocError: it is not acceptable.
        """
        with _guarded("message_1"):
            c_i, ead = self._run.process_message_1(data)
            _no_critical(ead)
            self._c_i = bytes(c_i)
        return self._c_i

    def message_2(self, c_r: bytes) -> bytes:
        """Compose message_2 with our connection identifier.

        Raises:
            EdhocError: the peer's ephemeral key is none.
        """
        self._c_r = c_r
        transfer = self._lakers.CredentialTransfer
        style = transfer.ByValue if self._identity.by_value else transfer.ByReference
        with _guarded("message_2"):
            return bytes(self._run.prepare_message_2(style, c_r))

    def take_message_3(self, data: bytes) -> bytes:
        """Read message_3; the peer's ID_CRED_I, which is not verified yet.

        Raises:
            EdhocError: it is forged, or of another session.
        """
        parse_ciphertext(data, "message_3")
        with _guarded("message_3"):
            id_cred, ead = self._run.parse_message_3(data)
            _no_critical(ead)
            return bytes(id_cred)

    def finish(self, peer: Ccs) -> tuple[Output, bytes]:
        """Verify message_3 with the peer's credential; the output and message_4.

        Raises:
            EdhocError: somebody else composed message_3.
        """
        with _guarded("message_3 does not verify"):
            self._run.verify_message_3(peer.encoded)
            message_4 = bytes(self._run.prepare_message_4())
            return _output(self._run, self._c_i, self._c_r), message_4


def parse_claims_set(encoded: bytes) -> Ccs:
    """The credential of a peer that may be anybody.

    Raises:
        EdhocError: it is none.
    """
    try:
        return Ccs.parse(encoded)
    except KeyFault as error:
        raise EdhocError(f"the credential sent by value is {error}") from None


def _output(run: Any, sender_id: bytes, recipient_id: bytes) -> Output:
    secret = bytes(run.edhoc_exporter(_SECRET_LABEL, b"", _KEY_LENGTH))
    return Output(secret, bytes(run.edhoc_exporter(_SALT_LABEL, b"", _SALT_LENGTH)), sender_id, recipient_id)
