"""A client's cache: responses used again while they are fresh, and validated when they are not (RFC 7252 section 5.6).

What came from one address is never used for another: the key has the secured address itself, so that nothing crosses a
DTLS session, an OSCORE context or the line between protected and plain (section 11.2). Bodies are whole here; blocks,
addresses and sending are the business of others.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from securecoap.wire import numbers
from securecoap.wire.codes import Code

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from securecoap.config import Limits
    from securecoap.interfaces import EndpointAddress, Scheduler
    from securecoap.wire.message import Message

    Perform: TypeAlias = Callable[[Message], Awaitable[Message]]

__all__ = ["ResponseCache"]

CacheKey: TypeAlias = tuple[Any, ...]

_DEFAULT_MAX_AGE: Final = 60  # section 5.10.5
_RETRIEVING: Final = frozenset({Code.GET, Code.FETCH})
# Of a request with one of these the answer is not simply what the resource is.
_APART: Final = sum(
    1 << number
    for number in (
        numbers.IF_MATCH, numbers.ETAG, numbers.IF_NONE_MATCH, numbers.OBSERVE, numbers.BLOCK1, numbers.BLOCK2,
        numbers.ECHO, numbers.NO_RESPONSE,
    )
)  # fmt: skip
_ECHO: Final = 1 << numbers.ECHO
# What says which resource is meant, whatever the method.
_OF_RESOURCE: Final = frozenset(
    {numbers.URI_HOST, numbers.URI_PORT, numbers.URI_PATH, numbers.URI_QUERY, numbers.PROXY_URI, numbers.PROXY_SCHEME}
)
_CHANGED: Final = frozenset({Code.CREATED, Code.DELETED, Code.CHANGED})
_LARGEST_PART: Final = 4  # no body takes more than a quarter of the room


class _Entry:
    """A stored response."""

    __slots__ = ("fresh_until", "resource", "response")

    def __init__(self, response: Message, resource: CacheKey, now: float) -> None:
        self.response = response
        self.resource = resource
        self.fresh_until = now + _max_age(response)


class ResponseCache:
    """Responses to GET and FETCH by what was asked of whom, the one used last at the end.

    At ``Limits.cache_entries`` or ``Limits.cache_bytes`` the longest unused one goes. A peer fills only what its own
    answers to requests of ours take.

    Args:
        scheduler: time.
        limits: uses ``cache_entries`` and ``cache_bytes``.
    """

    def __init__(self, scheduler: Scheduler, limits: Limits) -> None:
        self._time = scheduler.time
        self._limits = limits
        self._most = limits.cache_entries
        self._most_bytes = limits.cache_bytes
        self._entries: OrderedDict[CacheKey, _Entry] = OrderedDict()
        self._bytes = 0
        self._changes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Bytes of bodies that are held."""
        return self._bytes

    async def perform(self, message: Message, perform: Perform) -> Message:
        """The response to a request with its remote: a fresh stored one, or what ``perform`` gets.

        What comes of the store has what is left of its Max-Age, and is a message of its own.

        Raises:
            RequestFailed: as ``perform``.
        """
        if message.code not in _RETRIEVING or message.options.present & _APART or message.remote.is_multicast:
            response = await perform(message)
            if message.code not in _RETRIEVING and response.code in _CHANGED:
                self._invalidate(message, response)
            return response
        key = _cache_key(message)
        entry = self._entries.get(key)
        now = self._time()
        if entry is not None and now < entry.fresh_until:
            self._entries.move_to_end(key)
            return _aged(entry, now)
        etag = entry.response.options.etag if entry is not None and entry.response.code == Code.CONTENT else None
        changes = self._changes
        response = await perform(message if etag is None else message.copy(etags=(etag,)))
        if changes != self._changes:
            return response  # it may be from before the change
        now = self._time()
        if entry is not None and etag is not None and response.code == Code.VALID and response.options.etag == etag:
            entry = _Entry(_refreshed(entry.response, response), entry.resource, now)
            self._store(key, entry)
            return _aged(entry, now)
        if _is_of_use(response):
            self._store(key, _Entry(response, _resource(message), now))
            return response.copy()
        self._discard(key)
        return response

    def discard_peer(self, remote: EndpointAddress) -> None:
        """Forget what came from an address that is never used again."""
        for key in [key for key in self._entries if key[0] == remote]:
            self._discard(key)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._bytes = 0

    def _store(self, key: CacheKey, entry: _Entry) -> None:
        self._discard(key)
        size = len(entry.response.payload)
        if size > self._most_bytes // _LARGEST_PART or not self._most:
            return
        self._entries[key] = entry
        self._bytes += size
        while len(self._entries) > self._most or self._bytes > self._most_bytes:
            self._limits.reached("cache_entries" if len(self._entries) > self._most else "cache_bytes")
            self._discard(next(iter(self._entries)))

    def _discard(self, key: CacheKey) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= len(entry.response.payload)

    def _invalidate(self, message: Message, response: Message) -> None:
        """What was created, changed or deleted is not fresh any more (section 5.9.1.1, 5.9.1.2, 5.9.1.4)."""
        self._changes += 1
        resources = {_resource(message)}
        if response.options.location_path or response.options.location_query:
            created = message.copy(uri_path=response.options.location_path, uri_query=response.options.location_query)
            resources.add(_resource(created))
        for entry in self._entries.values():
            if entry.resource in resources:
                entry.fresh_until = float("-inf")


def _cache_key(message: Message) -> CacheKey:
    """Section 5.6: method and options, without those that do not count; with FETCH its body (RFC 8132 section 2.1)."""
    options = tuple([pair for pair in message.options.pairs if not numbers.is_no_cache_key(pair[0])])
    return (message.remote, message.code, options, message.payload)


def _resource(message: Message) -> CacheKey:
    return (message.remote, tuple([pair for pair in message.options.pairs if pair[0] in _OF_RESOURCE]))


def _max_age(response: Message) -> int:
    age = response.options.max_age
    return _DEFAULT_MAX_AGE if age is None else age


def _is_of_use(response: Message) -> bool:
    """Whether it is cacheable (section 5.9: 2.05 and errors), and may be fresh or valid some time."""
    code = response.code or 0
    if response.options.present & _ECHO or not (code == Code.CONTENT or 128 <= code < 192):
        return False  # what asks for an Echo is about that one request
    return _max_age(response) > 0 or (code == Code.CONTENT and response.options.etag is not None)


def _refreshed(stored: Message, valid: Message) -> Message:
    """Section 5.9.1.3: each option of the 2.03 takes the place of the stored ones."""
    fresh = stored.copy()
    fresh.remote = valid.remote
    fresh.options.max_age = None  # without one it is 60 again
    for number in {number for number, _ in valid.options}:
        fresh.options.replace(number, valid.options.get_all(number))
    return fresh


def _aged(entry: _Entry, now: float) -> Message:
    response = entry.response.copy()
    response.options.max_age = max(0, int(entry.fresh_until - now))
    return response
