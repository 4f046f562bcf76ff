"""Signalling on reliable transports: CSM, Ping, Pong, Release and Abort (RFC 8323 section 5, RFC 8974 section 2.2.1).

`Signalling` has what one connection's peer has said of itself, and says of each message that comes in what is to be
done. It knows no sockets and no time: whoever has the connection sends, delays and closes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from securecoap.errors import FormatError, OptionError
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from securecoap.wire.numbers import SIGNALLING_OPTIONS
from securecoap.wire.option_types import decode_text, encode_uint

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Capabilities", "Reaction", "Signalling", "abort", "csm", "ping", "release"]

_MAX_MESSAGE_SIZE: Final = 2
_BLOCK_WISE_TRANSFER: Final = 4
_EXTENDED_TOKEN_LENGTH: Final = 6
_CUSTODY: Final = 2
_ALTERNATIVE_ADDRESS: Final = 2
_HOLD_OFF: Final = 4
_BAD_CSM_OPTION: Final = 2

_BASE_MESSAGE_SIZE: Final = 1152
_BASE_TOKEN_LENGTH: Final = 8
_LONGEST_TOKEN: Final = 65804
_LONGEST_DIAGNOSTIC: Final = 1000


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one end of a connection has said of itself; the defaults are the base values.

    Attributes:
        message_size: the longest message that it receives, in bytes, header and all.
        blockwise: whether it said that it knows blockwise transfer.
        token_length: the longest token that it takes in a request.
    """

    message_size: int = _BASE_MESSAGE_SIZE
    blockwise: bool = False
    token_length: int = _BASE_TOKEN_LENGTH

    @property
    def bert(self) -> bool:
        """Whether it takes several blocks of 1024 bytes in one message (section 5.3.2 and 6)."""
        return self.blockwise and self.message_size > _BASE_MESSAGE_SIZE

    def after(self, message: Message) -> Capabilities:
        """What holds after one more CSM: what it does not name stays as it was.

        Raises:
            OptionError: it has a critical option that nobody here knows.
        """
        values = _values(message)
        size = values.get(_MAX_MESSAGE_SIZE)
        token = values.get(_EXTENDED_TOKEN_LENGTH)
        found = self
        if size is not None:
            found = replace(found, message_size=int.from_bytes(size[0], "big"))
        if _BLOCK_WISE_TRANSFER in values:
            found = replace(found, blockwise=True)
        if token is not None and (length := int.from_bytes(token[0], "big")) >= _BASE_TOKEN_LENGTH:
            found = replace(found, token_length=min(length, _LONGEST_TOKEN))
        return found


@dataclass(frozen=True, slots=True)
class Reaction:
    """What one message that came in asks for.

    Attributes:
        dispatch: it is a request or response, for the layers above.
        answer: what to send back.
        wait: send ``answer`` only after the requests received before were processed (Custody, section 5.4.1).
        closing: ``"release"``: answer what is under way, then close; ``"abort"``: close now.
        hold_off: seconds for which the peer asks not to be connected to again.
        alternatives: addresses that it names in its place (section 5.5).
        diagnostic: its reason, for a log. Written by the peer.
    """

    dispatch: bool = False
    answer: Message | None = None
    wait: bool = False
    closing: str = ""
    hold_off: int = 0
    alternatives: tuple[str, ...] = ()
    diagnostic: str = ""


_NOTHING: Final = Reaction()
_DISPATCH: Final = Reaction(dispatch=True)


class Signalling:
    """The signalling state of one connection.

    Attributes:
        peer: what the peer has said of itself.
        established: whether its first CSM is here.
    """

    __slots__ = ("established", "peer")

    def __init__(self) -> None:
        self.peer = Capabilities()
        self.established = False

    def receive(self, message: Message) -> Reaction:
        """What to do about a message of the peer.

        Raises:
            FormatError: the connection is to be aborted (section 3.3, 5.2); `abort` makes the message for that.
        """
        code = message.code
        if code == Code.EMPTY:
            return _NOTHING  # section 3.4: always allowed, whatever is in it
        if not self.established and code != Code.CSM:
            raise FormatError("the first message is no CSM")
        if code is None or code < Code.CSM & 0xE0:
            return _DISPATCH if code is not None and (code >> 5 in {0, 2, 4, 5}) else _NOTHING
        if code == Code.CSM:
            self.peer = self.peer.after(message)
            self.established = True
            return _NOTHING
        values = _values(message)
        if code == Code.PING:
            pong = Message(Code.PONG)
            pong.token = message.token
            if _CUSTODY in values:
                pong.options.add(_CUSTODY, b"")
            return Reaction(answer=pong, wait=_CUSTODY in values)
        if code == Code.RELEASE:
            texts = (decode_text(value) for value in values.get(_ALTERNATIVE_ADDRESS, ()))
            return Reaction(
                closing="release",
                hold_off=int.from_bytes(values.get(_HOLD_OFF, [b""])[0], "big"),
                alternatives=tuple(text for text in texts if text is not None),
                diagnostic=_diagnostic(message),
            )
        if code == Code.ABORT:
            return Reaction(closing="abort", diagnostic=_diagnostic(message))
        return _NOTHING  # a Pong is its sender's business above; codes that are not registered mean nothing yet


def csm(capabilities: Capabilities) -> Message:
    """The message that says so; base values are left out (section 5.3)."""
    message = Message(Code.CSM)
    if capabilities.message_size != _BASE_MESSAGE_SIZE:
        message.options.add(_MAX_MESSAGE_SIZE, encode_uint(capabilities.message_size))
    if capabilities.blockwise:
        message.options.add(_BLOCK_WISE_TRANSFER, b"")
    if capabilities.token_length != _BASE_TOKEN_LENGTH:
        message.options.add(_EXTENDED_TOKEN_LENGTH, encode_uint(capabilities.token_length))
    return message


def ping(token: bytes, *, custody: bool = False) -> Message:
    """A question whether the peer is there; with ``custody``, whether it has processed everything before it."""
    message = Message(Code.PING)
    message.token = token
    if custody:
        message.options.add(_CUSTODY, b"")
    return message


def release(hold_off: int = 0, alternatives: Iterable[str] = (), diagnostic: str = "") -> Message:
    """Notice of an orderly end, which the peer carries out (section 5.5).

    Raises:
        ValueError: more than 2^24 - 1 seconds, or an address that is not 1 to 255 bytes.
    """
    message = Message(Code.RELEASE, diagnostic.encode())
    for address in alternatives:
        if not 1 <= len(address.encode()) <= 255:
            raise ValueError("an alternative address takes 1 to 255 bytes")
        message.options.add(_ALTERNATIVE_ADDRESS, address.encode())
    if not 0 <= hold_off < 1 << 24:
        raise ValueError("hold-off takes 0 to 16777215 seconds")
    if hold_off:
        message.options.add(_HOLD_OFF, encode_uint(hold_off))
    return message


def abort(error: FormatError | str = "", *, in_csm: bool = False) -> Message:
    """Notice of an end at once, for this fault (section 5.6).

    Args:
        error: the fault; its text becomes the diagnostic payload. None of our errors has bytes of the peer in it.
        in_csm: whether the fault is an option of a CSM, which is then named.
    """
    message = Message(Code.ABORT, str(error).encode())
    if in_csm and isinstance(error, OptionError) and error.number is not None:
        message.options.add(_BAD_CSM_OPTION, encode_uint(error.number))
    return message


def _values(message: Message) -> dict[int, list[bytes]]:
    """The options that mean something in a message of this code, by number.

    Values of a wrong length and a surplus of what is there once are left out, as what is elective (RFC 7252 section
    5.4.3 and 5.4.5); every option that is registered for signalling is.
    """
    values: dict[int, list[bytes]] = {}
    code = int(message.code or 0)
    for number, value in message.options:
        definition = SIGNALLING_OPTIONS.get((code, number))
        if definition is None:
            if number & 1:
                raise OptionError(f"critical signalling option {number} is not known here", number)
        elif definition.minimum <= len(value) <= definition.maximum and (definition.repeatable or number not in values):
            values.setdefault(number, []).append(value)
    return values


def _diagnostic(message: Message) -> str:
    return message.payload[:_LONGEST_DIAGNOSTIC].decode("utf-8", "backslashreplace")
