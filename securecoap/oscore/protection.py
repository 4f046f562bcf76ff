"""From a CoAP message to its OSCORE message and back (RFC 8613 sections 4, 5.3, 8).

Which option goes where is decided here: what a proxy needs stays outside (class U), everything else, known or not, goes
inside (class E). Every function is synchronous and consumes what it is given at once: a sequence number that went into
a function is used up, whatever becomes of the message. This module knows no peers, no storage and no windows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from cryptography.exceptions import InvalidTag

from securecoap.errors import ConfigurationError, FormatError, OptionError
from securecoap.oscore.option import encode_option, encode_partial_iv
from securecoap.wire import numbers
from securecoap.wire.codes import CODES, Code
from securecoap.wire.message import Message, decode_body
from securecoap.wire.options import Options
from securecoap.wire.uri import compose_uri, parse_uri

if TYPE_CHECKING:
    from securecoap.oscore.context import RequestIdentifiers, SecurityContext


class Binding(Protocol):
    """What binds a response to its request; see `securecoap.oscore.context.RequestIdentifiers`."""

    aad: bytes
    nonce: bytes
    nonce_usable: bool


__all__ = [
    "Binding",
    "DecryptionFailed",
    "decode_inner_request",
    "decode_inner_response",
    "decrypt",
    "encode_plaintext",
    "protect_request",
    "protect_response",
]


class DecryptionFailed(FormatError):
    """The bytes were not protected with this key, nonce and associated data, or changed since (section 8.2 step 6)."""


def _mask(*options: int) -> int:
    """As `Options.present` counts them."""
    return sum(1 << number for number in options)


_OUTER_ONLY: Final = frozenset({
    numbers.URI_HOST, numbers.URI_PORT, numbers.OSCORE, numbers.HOP_LIMIT, numbers.EDHOC, numbers.PROXY_URI,
    numbers.PROXY_SCHEME,
})  # fmt: skip
"""Class U and not E (section 4.1, figure 5; RFC 8768 section 6; RFC 9668 section 3.1)."""

# A message without any of these is protected as it stands: everything goes inside.
_ODD: Final = _mask(*_OUTER_ONLY, numbers.OBSERVE)
# What the inner message must not have. Hop-Limit is elective and of no meaning there: it is left out.
_NOT_INSIDE: Final = _mask(*(_OUTER_ONLY - {numbers.HOP_LIMIT}))
# What the outer message adds to a decrypted request; all else outside is discarded (section 8.2 step 1).
_TAKEN_FROM_OUTSIDE: Final = frozenset(_OUTER_ONLY - {numbers.OSCORE})
_TAKEN_FROM_OUTSIDE_MASK: Final = _mask(*_TAKEN_FROM_OUTSIDE)
_OSCORE_ONLY: Final = _mask(numbers.OSCORE)
_HOP_LIMIT: Final = _mask(numbers.HOP_LIMIT)
_OBSERVE: Final = _mask(numbers.OBSERVE)

_CODE_BYTES: Final = tuple(bytes((code,)) for code in range(256))
_EMPTY_OPTION: Final = Options.received(((numbers.OSCORE, b""),))
# Devices send the same short requests over and over. Those without payload are remembered once they have passed every
# check, by content only: what a request means depends on nobody. Only peers with keys can push entries out.
_BARE_LENGTH: Final = 64
_BARE_ENTRIES: Final = 1_024
_bare: dict[bytes, tuple[int, Options, bytes]] = {}
_POST: Final = 0x02
_FETCH: Final = 0x05
_CHANGED: Final = Code.CHANGED
_CONTENT: Final = Code.CONTENT


def encode_plaintext(code: int, options: bytes, payload: bytes) -> bytes:
    """Code, Class E options and payload, as they are encrypted (section 5.3)."""
    if payload:
        return _CODE_BYTES[code] + options + b"\xff" + payload
    return _CODE_BYTES[code] + options


def protect_request(
    context: SecurityContext, message: Message, sequence_number: int
) -> tuple[Message, RequestIdentifiers]:
    """The OSCORE message for a request (section 8.1), and what its responses will be verified with.

    The result has code, options, payload and token; where it goes is not set.

    Args:
        sequence_number: reserved for this message and never given to anything else.

    Raises:
        ConfigurationError: the request has an OSCORE option already, or is too long for the algorithm.
        UriError: its Proxy-Uri cannot be split.
    """
    partial_iv = encode_partial_iv(sequence_number)
    identifiers = context.outgoing(partial_iv)
    options = message.options
    option = (numbers.OSCORE, context.request_option(partial_iv))
    outer_code = _POST
    if options.present & _ODD:
        inner, outer, observe = _split(options)
        if observe is not None:
            outer_code = _FETCH
        outer_options = Options((*outer, option))
        plaintext = encode_plaintext(message.code or 0, inner.encode(), message.payload)
    else:
        outer_options = Options.received((option,))
        plaintext = encode_plaintext(message.code or 0, options.encode(), message.payload)
    try:
        ciphertext = context.aead_sender.encrypt(identifiers.nonce, plaintext, identifiers.aad)
    except (OverflowError, ValueError):
        raise _too_long(context, plaintext) from None
    return Message.inner(outer_code, outer_options, ciphertext, None, message.token), identifiers


def protect_response(
    context: SecurityContext, message: Message, binding: Binding, sequence_number: int | None
) -> Message:
    """Turn a response into its OSCORE message (section 8.3).

    The message is changed in place, and returned: it was made for this one sending. Its remote is not touched.

    Args:
        binding: to the request that it answers.
        sequence_number: reserved for this message; ``None`` uses the request's nonce, at most once per request.

    Raises:
        ConfigurationError: the response has an OSCORE option already, or is too long for the algorithm, or the
            request's nonce was used before.
    """
    if sequence_number is None:
        if not binding.nonce_usable:
            raise ConfigurationError("the nonce of the request has protected a response already (RFC 8613 section 8.3)")
        binding.nonce_usable = False
        nonce = binding.nonce
        outer_options = _EMPTY_OPTION
    else:
        nonce = context.sender_nonce(sequence_number)
        value = encode_option(encode_partial_iv(sequence_number))
        outer_options = Options.received(((numbers.OSCORE, value),))
    options = message.options
    payload = message.payload
    outer_code = _CHANGED
    plaintext = _CODE_BYTES[message.code or 0]
    if options.pairs:
        if options.present & _ODD:
            options, outer, observe = _split(options)
            if observe is not None:
                outer_code = _CONTENT
                # Inside it says only that this is a notification: order is by Partial IV (section 4.1.3.5.2).
                options.replace(numbers.OBSERVE, (b"",))
            outer_options = Options((*outer, *outer_options.pairs))
        plaintext += options.encode()
    if payload:
        plaintext += b"\xff" + payload
    try:
        message.payload = context.aead_sender.encrypt(nonce, plaintext, binding.aad)
    except (OverflowError, ValueError):
        raise _too_long(context, plaintext) from None
    message.code = outer_code
    message.options = outer_options
    return message


def decrypt(context: SecurityContext, nonce: bytes, ciphertext: bytes, aad: bytes) -> bytes:
    """The plaintext of what the peer protected.

    Raises:
        DecryptionFailed: the tag does not verify, for whatever reason.
    """
    try:
        return context.aead_recipient.decrypt(nonce, ciphertext, aad)
    except (InvalidTag, ValueError):
        raise DecryptionFailed("OSCORE decryption failed") from None


def decode_inner_request(plaintext: bytes, outer: Options) -> tuple[int, Options, bytes]:
    """The request that was protected: code, options and payload from inside, and Class U options from outside.

    Raises:
        OptionError: an option is inside that belongs outside only, as the OSCORE option of a nested message would.
        FormatError: the plaintext is no request.
    """
    is_short = len(plaintext) <= _BARE_LENGTH
    # Mostly the OSCORE option is alone; this spares the wide mask.
    has_outside = outer.present != _OSCORE_ONLY and outer.present & _TAKEN_FROM_OUTSIDE_MASK
    if is_short and not has_outside and (known := _bare.get(plaintext)) is not None:
        return known
    if not plaintext or not 0 < plaintext[0] < 32:
        raise FormatError("the protected message is no request")
    code = CODES[plaintext[0]]
    options, payload = decode_body(plaintext[1:], code)
    present = options.present
    if present & _NOT_INSIDE:
        raise _misplaced(options)
    if has_outside or present & _HOP_LIMIT:
        pairs = [pair for pair in options.pairs if pair[0] != numbers.HOP_LIMIT]
        pairs.extend(pair for pair in outer.pairs if pair[0] in _TAKEN_FROM_OUTSIDE)
        pairs.sort(key=_number)
        options = Options.received(tuple(pairs))
    elif is_short and not payload:
        if len(_bare) >= _BARE_ENTRIES:
            _bare.clear()
        _bare[plaintext] = code, options, payload
    return code, options, payload


def decode_inner_response(plaintext: bytes, remote: Any, token: bytes, observe: bytes | None = None) -> Message:
    """The response that was protected; nothing outside means anything (section 8.4 step 1).

    Args:
        observe: the value that an inner Observe option is given, for whoever orders notifications by it.

    Raises:
        OptionError: an option is inside that belongs outside only.
        FormatError: the plaintext is no response.
    """
    if not plaintext or not 0x40 <= plaintext[0] < 0xC0:
        raise FormatError("the protected message is no response")
    code = plaintext[0]
    options, payload = decode_body(plaintext[1:], code)
    present = options.present
    if present & _NOT_INSIDE:
        raise _misplaced(options)
    if observe is not None and present & _OBSERVE:
        pairs = ((number, observe if number == numbers.OBSERVE else value) for number, value in options.pairs)
        options = Options.received(tuple(pairs))
    return Message.inner(code, options, payload, remote, token)


def _too_long(context: SecurityContext, plaintext: bytes) -> ConfigurationError:
    return ConfigurationError(f"a message of {len(plaintext)} bytes is too long for {context.algorithm.name}")


def _split(options: Options) -> tuple[Options, list[tuple[int, bytes]], bytes | None]:
    """Inner options, outer pairs (unsorted), and the value of Observe if there is one."""
    inner: list[tuple[int, bytes]] = []
    outer: list[tuple[int, bytes]] = []
    observe = None
    for number, value in options.pairs:
        if number == numbers.OSCORE:
            raise ConfigurationError("nested use of OSCORE is not supported (RFC 8613 section 4.1.3.7)")
        if number == numbers.PROXY_URI:
            _split_proxy_uri(value, inner, outer)
        elif number in _OUTER_ONLY:
            outer.append((number, value))
        else:
            if number == numbers.OBSERVE:
                observe = value
                outer.append((number, value))
            inner.append((number, value))
    return Options(inner), outer, observe


def _split_proxy_uri(value: bytes, inner: list[tuple[int, bytes]], outer: list[tuple[int, bytes]]) -> None:
    """Path and query of a Proxy-Uri are for the server only, the rest is for the proxy (section 4.1.3.3)."""
    uri = parse_uri(value.decode(errors="replace"))
    inner.extend((numbers.URI_PATH, segment.encode()) for segment in uri.path)
    inner.extend((numbers.URI_QUERY, argument.encode()) for argument in uri.query)
    authority = compose_uri(uri.scheme, uri.host, uri.port).removesuffix("/")
    outer.append((numbers.PROXY_URI, authority.encode()))


def _misplaced(options: Options) -> OptionError:
    number = next(number for number, _ in options.pairs if number in _OUTER_ONLY and number != numbers.HOP_LIMIT)
    return OptionError(f"{numbers.option_name(number)} is inside the protection", number)


def _number(pair: tuple[int, bytes]) -> int:
    return pair[0]
