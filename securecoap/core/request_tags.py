"""Which Request-Tag a new upload gets, so that its blocks never mix with those of another one (RFC 9175 section 3).

The absent option is a value like any other, and the shortest: the first upload has none. It is not used again for the
same operation while an earlier upload without it is under way or in doubt, since the server may still get, or an
attacker replay, one of its blocks (section 3.5.1). Nothing here sends or waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from securecoap.wire.operation import blockwise
from securecoap.wire.option_types import encode_uint

if TYPE_CHECKING:
    from securecoap.wire.message import Message

__all__ = ["RequestTags"]

Operation: TypeAlias = tuple[Any, ...]


class RequestTags:
    """The operations of one client whose absent Request-Tag is taken.

    Args:
        most: how many are remembered. Beyond it nothing is forgotten: every upload then gets a tag of its own.
    """

    def __init__(self, most: int = 1_000) -> None:
        self._most = most
        self._taken: set[Operation] = set()
        self._is_full = False
        self._last = -1

    def __len__(self) -> int:
        return len(self._taken)

    def fresh(self) -> bytes:
        """A value that this client has not used before: 0 to 8 bytes, which tell nobody anything but their order."""
        self._last += 1
        return encode_uint(self._last)

    def take(self, message: Message) -> tuple[Operation | None, bytes | None]:
        """Begin an upload: what to `release` when it has concluded, and its Request-Tag (``None``: absent)."""
        operation = (message.remote, message.code, blockwise(message.options).operation)
        if operation in self._taken or self._is_full:
            return None, self.fresh()
        self._taken.add(operation)
        self._is_full = len(self._taken) >= self._most
        return operation, None

    def release(self, operation: Operation) -> None:
        """An upload without a tag has concluded: every block of it was answered, and nothing of it can come again.

        Over DTLS nobody above the records knows whether an earlier transmission of a block was lost or is being held
        back (section 3.5.1), so there the absent option is used once in a session.
        """
        if operation[0].security != "dtls":
            self._taken.discard(operation)
