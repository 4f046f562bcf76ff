"""The Security Context: keys, nonces and authenticated data, made once (RFC 8613 sections 3 and 5.2 to 5.4).

Everything that does not change from message to message is computed here: AEAD objects, the nonce as an integer to which
a Partial IV is xored, the AAD up to the Partial IV (one for each of its lengths), the request's OSCORE option.
No CBOR encoder runs per message. This module knows no message, no peer and no storage, and gives no key away.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from securecoap.credentials.algorithms import MAXIMUM_ID_CONTEXT
from securecoap.errors import ConfigurationError
from securecoap.oscore.algorithms import DEFAULT_ALGORITHM, DEFAULT_HASH, Extracted, make_aead
from securecoap.oscore.option import encode_option
from securecoap.oscore.window import DEFAULT_WINDOW, ReplayWindow, Window

if TYPE_CHECKING:
    from securecoap.credentials.algorithms import AeadParameters
    from securecoap.errors import CoapError
    from securecoap.oscore.agreement import Agreement
    from securecoap.oscore.algorithms import Aead
    from securecoap.oscore.rederivation import Rederivation
    from securecoap.oscore.sender import Sender

__all__ = [
    "DerivedKeys",
    "RequestIdentifiers",
    "SecurityContext",
    "build_info",
    "derive_keys",
    "expand_keys",
    "sender_info",
]


class DerivedKeys(NamedTuple):
    """Output of the key derivation (section 3.2.1); never shown."""

    sender_key: bytes
    recipient_key: bytes
    common_iv: bytes

    def __repr__(self) -> str:
        return "DerivedKeys(...)"


_SHORT: Final = tuple(bytes((0x40 | length,)) for length in range(24))
_NONE_YET: Final[tuple[bytes | None, ...]] = (None,) * 6


class RequestIdentifiers:
    """What binds the responses to a request of ours to it (section 7.1), in the form in which they need it.

    Attributes:
        aad: the authenticated data of the request and of each of its responses; has kid and Partial IV of the request.
        nonce: the nonce of the request, for a response without Partial IV.
        nonce_usable: whether a response may still be protected or verified under ``nonce`` (at most one, section 8.3).
    """

    __slots__ = ("aad", "nonce", "nonce_usable")

    def __init__(self, aad: bytes, nonce: bytes) -> None:
        self.aad = aad
        self.nonce = nonce
        self.nonce_usable = True


def derive_keys(
    secret: bytes,
    salt: bytes,
    sender_id: bytes,
    recipient_id: bytes,
    *,
    id_context: bytes | None = None,
    algorithm: AeadParameters = DEFAULT_ALGORITHM,
    hash_name: str = DEFAULT_HASH,
) -> DerivedKeys:
    """Sender Key, Recipient Key and Common IV (section 3.2.1): one extraction, three expansions."""
    extracted = Extracted(secret, salt, hash_name)
    return expand_keys(extracted, sender_id, recipient_id, id_context=id_context, algorithm=algorithm)


def expand_keys(
    extracted: Extracted,
    sender_id: bytes,
    recipient_id: bytes,
    *,
    id_context: bytes | None = None,
    algorithm: AeadParameters = DEFAULT_ALGORITHM,
) -> DerivedKeys:
    """`derive_keys` behind the extraction, for contexts that differ in their ID Context only."""
    length, iv_length = algorithm.key_length, algorithm.nonce_length
    for_key, for_iv = _suffixes(id_context, algorithm.number, length, iv_length)
    expand = extracted.expand
    return DerivedKeys(
        expand(b"\x85" + _bstr(sender_id) + for_key, length),
        expand(b"\x85" + _bstr(recipient_id) + for_key, length),
        expand(b"\x85\x40" + for_iv, iv_length),
    )


def sender_info(sender_id: bytes, id_context: bytes | None, algorithm: AeadParameters) -> bytes:
    """`build_info` of the Sender Key."""
    for_key, _ = _suffixes(id_context, algorithm.number, algorithm.key_length, algorithm.nonce_length)
    return b"\x85" + _bstr(sender_id) + for_key


@lru_cache(maxsize=64)  # most contexts have no ID Context, and one of few algorithms
def _suffixes(id_context: bytes | None, algorithm: int, length: int, iv_length: int) -> tuple[bytes, bytes]:
    """What stands behind the identifier, for keys and for the Common IV."""
    return _info_suffix(id_context, algorithm, "Key", length), _info_suffix(id_context, algorithm, "IV", iv_length)


def build_info(identifier: bytes, id_context: bytes | None, algorithm: int, kind: str, length: int) -> bytes:
    """The ``info`` array of the key derivation (section 3.2.1).

    Args:
        identifier: Sender or Recipient ID; empty for the Common IV.
        kind: ``Key`` or ``IV``.
        length: bytes of the output.
    """
    return b"\x85" + _bstr(identifier) + _info_suffix(id_context, algorithm, kind, length)


def _info_suffix(id_context: bytes | None, algorithm: int, kind: str, length: int) -> bytes:
    """`build_info` behind the identifier."""
    context = b"\xf6" if id_context is None else _bstr(id_context)
    return context + _head(0x00, algorithm) + _head(0x60, len(kind)) + kind.encode() + _head(0x00, length)


def _aad_prefix(algorithm: int, request_kid: bytes, length: int) -> bytes:
    """The Enc_structure around ``external_aad`` (section 5.4) up to the Partial IV of ``length`` bytes.

    After that comes the empty string of Class I options, of which there are none.
    """
    array = b"\x85\x01\x81" + _head(0x00, algorithm) + _bstr(request_kid) + _head(0x40, length)
    return b"\x83\x68Encrypt0\x40" + _head(0x40, len(array) + length + 1) + array


def _bstr(value: bytes) -> bytes:
    length = len(value)
    return (_SHORT[length] if length < 24 else _head(0x40, length)) + value


def _head(major: int, value: int) -> bytes:
    """The head of a CBOR item in its shortest form (RFC 8949 section 3)."""
    if value < 24:
        return bytes((major | value,))
    if value < 256:
        return bytes((major | 24, value))
    return bytes((major | 25, value >> 8, value & 0xFF))


class SecurityContext:
    """Common, Sender and Recipient Context of one pair of endpoints (section 3.1); the same whoever is client.

    Args:
        keys: of `derive_keys`.
        sender_id: our identifier.
        recipient_id: the peer's identifier.
        id_context: selects one of several contexts with the same identifiers, or ``None``.
        kid_context: what stands for ``id_context`` on the wire, where that is something else (Appendix B.2).
        window: which Partial IVs of the peer were received; a void one if it is not given.
        sender: gives out our sequence numbers; without it the context only does arithmetic.
        label: what messages to people call it.
        claims: what a peer has proved once it used the context.

    Attributes:
        generation: part of the address; another one after a new derivation (Appendix B.2).
        derivation: makes the context that will replace this one (Appendix B.2), or ``None``.
        agreement: of a context that we began to agree on, who wants to know what becomes of it (RFC 9668).
        retired: the context was removed, and no message is sent or accepted under it any more.
        aead_sender: for what we send; made when it is first used.
        aead_recipient: for what the peer sends; made when it is first used.

    Raises:
        ConfigurationError: identifiers that are equal (both ends would use one key), too long for the nonce, or too
            long for the OSCORE option together with the ID Context.
    """

    aead_recipient: Aead
    aead_sender: Aead

    __slots__ = (
        "_nonce_length",
        "_option_tail",
        "_recipient_key",
        "_recipient_nonce",
        "_recipient_prefixes",
        "_sender_key",
        "_sender_nonce",
        "_sender_prefixes",
        "aead_recipient",
        "aead_sender",
        "agreement",
        "algorithm",
        "claims",
        "derivation",
        "generation",
        "id_context",
        "kid_context",
        "label",
        "recipient_id",
        "retired",
        "sender",
        "sender_id",
        "window",
    )

    def __init__(
        self,
        keys: DerivedKeys,
        sender_id: bytes,
        recipient_id: bytes,
        *,
        id_context: bytes | None = None,
        kid_context: bytes | None = None,
        algorithm: AeadParameters = DEFAULT_ALGORITHM,
        window: Window | None = None,
        sender: Sender | None = None,
        label: str = "",
        claims: tuple[str, ...] = (),
    ) -> None:
        if sender_id == recipient_id:
            raise ConfigurationError("sender-id and recipient-id are equal (RFC 8613 section 3.3)")
        if max(len(sender_id), len(recipient_id)) > algorithm.maximum_id_length:
            raise ConfigurationError(
                f"an identifier has at most {algorithm.maximum_id_length} bytes with {algorithm.name} (section 3.3)"
            )
        if id_context is not None and len(id_context) > MAXIMUM_ID_CONTEXT:
            raise ConfigurationError("the ID Context does not fit an OSCORE option (RFC 8613 section 6.1)")
        self.sender_id = sender_id
        self.recipient_id = recipient_id
        self.id_context = id_context
        self.kid_context = id_context if kid_context is None else kid_context
        self.derivation: Rederivation | None = None
        self.algorithm = algorithm
        self.window: Window = ReplayWindow(DEFAULT_WINDOW, void=True) if window is None else window
        self.sender = sender
        self.label = label
        self.claims = claims
        self.generation = 0
        self.retired = False
        self.agreement: Agreement | None = None
        self._sender_key = keys.sender_key
        self._recipient_key = keys.recipient_key
        self._nonce_length = algorithm.nonce_length
        common_iv = int.from_bytes(keys.common_iv, "big")
        self._sender_nonce = common_iv ^ _nonce_base(sender_id, algorithm.nonce_length)
        self._recipient_nonce = common_iv ^ _nonce_base(recipient_id, algorithm.nonce_length)
        # One prefix for each length of a Partial IV, made when it is first needed: most contexts see one or two.
        self._sender_prefixes = _NONE_YET
        self._recipient_prefixes = _NONE_YET
        tail = sender_id if self.kid_context is None else encode_option(b"\x00", sender_id, self.kid_context)[2:]
        self._option_tail = tail
        self.__class__ = _Unused  # noqa: PLE0237 - its class is no slot

    @classmethod
    def derive(
        cls,
        secret: bytes,
        salt: bytes,
        sender_id: bytes,
        recipient_id: bytes,
        *,
        id_context: bytes | None = None,
        algorithm: AeadParameters = DEFAULT_ALGORITHM,
        hash_name: str = DEFAULT_HASH,
        window: ReplayWindow | None = None,
    ) -> SecurityContext:
        """From a pre-shared Master Secret and Salt (section 3.2)."""
        keys = derive_keys(
            secret, salt, sender_id, recipient_id, id_context=id_context, algorithm=algorithm, hash_name=hash_name
        )
        return cls(keys, sender_id, recipient_id, id_context=id_context, algorithm=algorithm, window=window)

    def retire(self, error: CoapError | None = None) -> None:
        """From now on nothing is sent or accepted under it; what waits to be sent fails with ``error``."""
        self.retired = True
        if self.sender is not None:
            self.sender.close(error)

    def outgoing(self, partial_iv: bytes) -> RequestIdentifiers:
        """The identifiers of a request that we send with this Partial IV (section 5.2, 5.4)."""
        length = len(partial_iv)
        prefix = self._sender_prefixes[length]
        if prefix is None:
            prefix = _aad_prefix(self.algorithm.number, self.sender_id, length)
            self._sender_prefixes = _with(self._sender_prefixes, length, prefix)
        return RequestIdentifiers(prefix + partial_iv + b"\x40", self.sender_nonce(int.from_bytes(partial_iv, "big")))

    def incoming(self, partial_iv: bytes, number: int) -> tuple[bytes, bytes]:
        """Authenticated data and nonce of a request that the peer sent; ``number`` is the value of ``partial_iv``."""
        length = len(partial_iv)
        prefix = self._recipient_prefixes[length]
        if prefix is None:
            prefix = _aad_prefix(self.algorithm.number, self.recipient_id, length)
            self._recipient_prefixes = _with(self._recipient_prefixes, length, prefix)
        return prefix + partial_iv + b"\x40", (self._recipient_nonce ^ number).to_bytes(self._nonce_length, "big")

    def sender_nonce(self, number: int) -> bytes:
        """The nonce of what we send under our own Partial IV."""
        return (self._sender_nonce ^ number).to_bytes(self._nonce_length, "big")

    def recipient_nonce(self, number: int) -> bytes:
        """The nonce of what the peer sends under its own Partial IV."""
        return (self._recipient_nonce ^ number).to_bytes(self._nonce_length, "big")

    def request_option(self, partial_iv: bytes) -> bytes:
        """The OSCORE option of a request of ours: Partial IV, kid, and kid context where there is an ID Context."""
        flags = len(partial_iv) | (0x08 if self.kid_context is None else 0x18)
        return bytes((flags,)) + partial_iv + self._option_tail

    def __repr__(self) -> str:
        return f"<SecurityContext {self.sender_id.hex() or '-'} to {self.recipient_id.hex() or '-'}>"


class _Unused(SecurityContext):
    """What a context is before its first message: without AEAD objects, which take more memory than all the rest.

    Of 100,000 contexts few may ever be used. A class of its own, as looking up anything takes longer in one that has
    this method.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Aead:
        if name == "aead_sender":
            self.aead_sender = made = make_aead(self.algorithm, self._sender_key)
            self._sender_key = b""
        elif name == "aead_recipient":
            self.aead_recipient = made = make_aead(self.algorithm, self._recipient_key)
            self._recipient_key = b""
        else:
            raise AttributeError(f"'SecurityContext' object has no attribute {name!r}")
        if not self._sender_key and not self._recipient_key:
            self.__class__ = SecurityContext  # type: ignore[assignment]  # from now on; the slots are the same
        return made


def _with(prefixes: tuple[bytes | None, ...], length: int, prefix: bytes) -> tuple[bytes | None, ...]:
    return (*prefixes[:length], prefix, *prefixes[length + 1 :])


def _nonce_base(identifier: bytes, length: int) -> int:
    """What the Common IV is xored with for Partial IV 0 (section 5.2).

    One byte has the ID's length, then come the ID, padded on the left, and five bytes of Partial IV.
    """
    return len(identifier) << 8 * (length - 1) | int.from_bytes(identifier, "big") << 40
