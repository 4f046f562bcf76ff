"""Bodies larger than a message, at the server (RFC 7959, Request-Tag of RFC 9175).

`Assemblies` puts request bodies together from Block1 and keeps response bodies for Block2, bounded in bytes, number
and time. Both are keyed by the (secured) address and the cache key, so that no block of another client, session or
operation gets in. It sends nothing and runs no handler.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from securecoap.errors import BadRequest, RequestEntityIncomplete, RequestEntityTooLarge, ServiceUnavailable
from securecoap.wire import numbers
from securecoap.wire.block import BERT_EXPONENT, Block
from securecoap.wire.codes import Code

if TYPE_CHECKING:
    from securecoap.config import Limits
    from securecoap.interfaces import EndpointAddress
    from securecoap.wire.message import Message

__all__ = ["Assemblies", "Assembly", "body_etag", "cache_key", "first_block", "take_block"]

CacheKey: TypeAlias = tuple[Any, ...]

_NOT_IN_KEY: Final = frozenset(
    {
        numbers.BLOCK1,
        numbers.BLOCK2,
        numbers.OBSERVE,
        numbers.OSCORE,
        numbers.ECHO,
        numbers.NO_RESPONSE,
        numbers.IF_NONE_MATCH,  # only the first block has it (RFC 7959 section 2.10)
    }
)
_BLOCK1: Final = 1 << numbers.BLOCK1


def cache_key(request: Message) -> CacheKey:
    """What makes two requests the same operation (RFC 7252 section 5.6, RFC 7959 section 2.3, RFC 9175 section 3.3).

    What is asked for with FETCH depends on its payload (RFC 8132 section 2.1), but for blocks of a longer one.
    """
    by_payload = request.code == Code.FETCH and not request.options.present & _BLOCK1
    return (
        request.remote,
        request.code,
        request.payload if by_payload else b"",
        tuple(
            [
                pair
                for pair in request.options.pairs
                if pair[0] not in _NOT_IN_KEY
                and (not numbers.is_no_cache_key(pair[0]) or pair[0] == numbers.REQUEST_TAG)
            ]
        ),
    )


def body_etag(payload: bytes) -> bytes:
    """An entity tag for a body whose handler gave none, so that a client cannot mix versions (RFC 7959 section 2.4)."""
    return blake2b(payload, digest_size=8).digest()


def first_block(response: Message, exponent: int) -> Message:
    """The response with only its first block, and what a client needs to fetch the rest."""
    return take_block(response, Block(0, more=False, size_exponent=exponent))


def take_block(response: Message, wanted: Block) -> Message:
    """The part of a response that a Block2 option asks for, as a new message.

    Raises:
        BadRequest: the block begins beyond the body.
    """
    payload = response.payload
    start = wanted.start
    if start >= len(payload) and wanted.number:
        raise BadRequest("the block is beyond the end of the body")
    end = start + wanted.size
    part = response.copy()
    part.code = response.code
    part.payload = payload[start:end]
    part.options.block2 = Block(wanted.number, end < len(payload), wanted.size_exponent)
    if wanted.number == 0:
        part.options.size2 = len(payload)
    if part.options.etag is None and 64 <= (part.code or Code.CONTENT) < 96:
        part.options.etag = body_etag(payload)
    return part


class Assembly:
    """One body under way: of a request being put together, or of a response being fetched."""

    __slots__ = ("body", "expires_at", "if_none_match", "response")

    def __init__(self, expires_at: float) -> None:
        self.body = bytearray()
        self.if_none_match = False
        self.response: Message | None = None
        self.expires_at = expires_at

    @property
    def size(self) -> int:
        """Bytes held."""
        return len(self.body) + (len(self.response.payload) if self.response is not None else 0)


class Assemblies:
    """Bodies under way by cache key, oldest use first.

    At ``Limits.assemblies`` or ``Limits.assembly_bytes`` the longest idle one of an unconfirmed address goes; if all
    are of confirmed addresses, only a confirmed newcomer pushes out the longest idle one. What has not been touched for
    ``lifetime`` seconds has expired.
    """

    def __init__(self, limits: Limits, lifetime: float) -> None:
        self._limits = limits
        self._lifetime = lifetime
        self._table: dict[CacheKey, Assembly] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._table)

    def add_block(self, request: Message, block: Block, now: float) -> bytes | None:
        """Add one block of a request body; the whole body when this was the last, else ``None``.

        The request with the last block gets the If-None-Match of the first.

        Raises:
            BadRequest: the block contradicts itself (RFC 7959 section 2.2, 2.3).
            RequestEntityIncomplete: blocks before it are missing (section 2.9.2).
            RequestEntityTooLarge: the body is larger than ``Limits.body_bytes`` (section 2.9.3).
            ServiceUnavailable: there is no room for another body.
        """
        if block.size_exponent == BERT_EXPONENT:
            raise BadRequest("block size exponent 7 is not for this transport")
        payload = request.payload
        if len(payload) > block.size or (block.more and len(payload) != block.size):
            raise BadRequest("the payload does not have the size of the block")
        key = cache_key(request)
        if block.number == 0:
            self.discard(key)
            if not block.more:
                return payload
        assembly = self._get(key, now)
        if block.number and (assembly is None or len(assembly.body) != block.start):
            self.discard(key)
            raise RequestEntityIncomplete
        limit = self._limits.body_bytes
        announced = request.options.size1 or 0
        if block.start + len(payload) > limit or (block.more and announced > limit):
            self.discard(key)
            raise RequestEntityTooLarge(size1=limit)
        if assembly is None:
            assembly = self._create(key, request.remote, now, len(payload))
            assembly.if_none_match = request.options.if_none_match
        else:
            self._make_room(request.remote, len(payload), keep=key)
        assembly.body += payload
        self._bytes += len(payload)
        if block.more:
            return None
        body = bytes(assembly.body)
        if assembly.if_none_match:
            request.options = request.options.copy()
            request.options.if_none_match = True
        self.discard(key)
        return body

    def keep_response(self, request: Message, response: Message, now: float) -> None:
        """Keep a response whose first block is being sent; without room the client has to ask anew."""
        key = cache_key(request)
        self.discard(key)
        try:
            assembly = self._create(key, request.remote, now, len(response.payload))
        except ServiceUnavailable:
            return
        assembly.response = response
        self._bytes += len(response.payload)

    def response(self, request: Message, block: Block, now: float) -> Message | None:
        """The kept response that a later block is asked of; released when its last block is taken."""
        key = cache_key(request)
        assembly = self._get(key, now)
        if assembly is None or assembly.response is None:
            return None
        response = assembly.response
        if block.start + block.size >= len(response.payload):
            self.discard(key)
        return response

    def discard(self, key: CacheKey) -> None:
        """Release a body at once."""
        assembly = self._table.pop(key, None)
        if assembly is not None:
            self._bytes -= assembly.size

    def discard_of(self, remote: EndpointAddress) -> None:
        """Release every body of an address whose session has ended."""
        for key in [key for key in self._table if key[0] == remote]:
            self.discard(key)

    def _get(self, key: CacheKey, now: float) -> Assembly | None:
        assembly = self._table.pop(key, None)
        if assembly is None:
            return None
        if now >= assembly.expires_at:
            self._bytes -= assembly.size
            return None
        assembly.expires_at = now + self._lifetime
        self._table[key] = assembly  # it is the last one in the order of use now
        return assembly

    def _create(self, key: CacheKey, remote: EndpointAddress, now: float, size: int) -> Assembly:
        for old, assembly in list(self._table.items()):
            if now < assembly.expires_at:
                break
            self.discard(old)
        self._make_room(remote, size)
        assembly = self._table[key] = Assembly(now + self._lifetime)
        return assembly

    def _make_room(self, remote: EndpointAddress, size: int, keep: CacheKey | None = None) -> None:
        limits = self._limits
        while self._bytes + size > limits.assembly_bytes or (keep is None and len(self._table) >= limits.assemblies):
            victim = next((key for key in self._table if not key[0].confirmed and key != keep), None)
            if victim is None and remote.confirmed:
                victim = next((key for key in self._table if key != keep), None)
            if victim is None:
                raise ServiceUnavailable(max_age=10)
            self.discard(victim)
