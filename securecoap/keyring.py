"""What the credentials of one endpoint become: security contexts that own their state, keys of sessions, access.

It stands between rooms that must not know each other: credentials give the input of a context, `oscore` derives it,
`state` makes its sequence numbers durable. There is one context object for each fingerprint in a process, whichever map
or transport asks (the design, section 6, State). No message passes here.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from securecoap.access import Access
from securecoap.core.deadlines import Deadlines
from securecoap.errors import ConfigurationError, CredentialsMissing, SessionEnded, StateError
from securecoap.wire.uri import is_ip_literal, parse_uri

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from securecoap.config import Limits
    from securecoap.credentials import CredentialsMap, DtlsPsk, OscoreContext, Selection
    from securecoap.oscore.context import SecurityContext
    from securecoap.oscore.layer import OscoreLayer
    from securecoap.state.protocol import ContextState, SavedWindow, StateStore
    from securecoap.wire.message import Message

__all__ = ["Keyring"]

_EXPIRY_INTERVAL: Final = 3600.0
"""Seconds between two looks at a credential that ends some day: clocks may be set."""


class Keyring:
    """Security contexts, state and policy of one endpoint; a `ContextSource` for its OSCORE layers.

    Args:
        credentials: file, dict, map, or ``None`` for none.
        state: the state directory, or ``None`` for the user's.
        strict_state: whether a store that does not exist yet is an error.
        names: host names of this endpoint, beside its addresses.
        bound: the address literals that are bound; empty for a client.
        limits: handed on.
        wait: seconds to wait for another process that owns a context.

    Attributes:
        credentials: the map, or ``None``.
        access: the server's policy, or ``None`` for a client and for a server that is open.

    Raises:
        CredentialsFault: the credentials are faulty.
    """

    def __init__(
        self,
        credentials: CredentialsMap | str | os.PathLike[str] | dict[str, Any] | None,
        *,
        state: str | os.PathLike[str] | None,
        strict_state: bool,
        names: Iterable[str],
        bound: Sequence[str],
        limits: Limits,
        wait: float,
    ) -> None:
        self.credentials: CredentialsMap | None = None
        self.access: Access | None = None
        self._state = state
        self._strict = strict_state
        self._limits = limits
        self._wait = wait
        self._loop: asyncio.AbstractEventLoop | None = None
        self._store: StateStore | None = None
        self._layers: list[OscoreLayer] = []
        self._contexts: dict[bytes, SecurityContext] = {}
        self._found: dict[tuple[bytes, bytes | None], list[SecurityContext]] = {}
        self._handles: dict[bytes, ContextState] = {}
        self._opening: dict[bytes, asyncio.Task[SecurityContext]] = {}
        self._expiries: Deadlines[OscoreContext] | None = None
        if credentials is None:
            return
        # Loaded only where there are credentials: with them comes what parses keys and certificates.
        from securecoap.credentials import OwnNames, as_credentials_map  # noqa: PLC0415

        loaded = as_credentials_map(credentials, role="server" if bound else "client")
        if bound:
            literals = [ip_address(host.partition("%")[0]) for host in bound]
            reaches_loopback = any(one.is_loopback or one.is_unspecified for one in literals)
            own = OwnNames(bound, names, loopback=reaches_loopback)
            loaded = loaded.for_server(own)
            self.access = Access(loaded.policy, own)
        self.credentials = loaded

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop on which everything runs."""
        self._loop = loop
        self._expiries = Deadlines(loop, self._expire)

    def add_layer(self, layer: OscoreLayer) -> None:
        """A layer that is to be told when a context ends."""
        self._layers.append(layer)

    # OSCORE contexts.

    def find(self, kid: bytes, kid_context: bytes | None) -> Sequence[SecurityContext]:
        """See `securecoap.oscore.layer.ContextSource.find`."""
        known = self._found.get((kid, kid_context))
        if known is not None:
            return known
        if self.credentials is None:
            return ()
        from securecoap.credentials.models import ALWAYS  # noqa: PLC0415  # as above

        found = self.credentials.find_oscore(kid, kid_context, time.time())
        contexts = [self._contexts[one.key] for one in found if one.key in self._contexts]
        if contexts and all(one.validity == ALWAYS for one in found):
            # At most two entries for each context: what finds nothing, or only for a time, is not kept.
            self._found[kid, kid_context] = contexts
        return contexts

    async def for_request(self, message: Message) -> SecurityContext | None:
        """See `securecoap.oscore.layer.ContextSource.for_request`."""
        selection = self.select(message)
        if selection is None or selection.oscore is None:
            return None
        if selection.oscore.kind != "oscore":  # the keys that EDHOC agrees on come next
            raise CredentialsMissing("edhoc-oscore is not usable yet")
        return await self._open(selection.oscore)

    def select(self, message: Message) -> Selection | None:
        """What protects a request of ours; ``None`` without credentials, or to a remote that is a session already.

        Raises:
            CredentialsMissing: a credential is meant for it and cannot be used.
        """
        remote = message.remote
        if remote is not None and remote.security != "none":
            return None
        if self.credentials is None:
            if message.scheme == "coaps":
                raise CredentialsMissing("coaps needs credentials, and this context has none")
            return None
        from securecoap.credentials import Selection  # noqa: PLC0415  # as above
        from securecoap.credentials.patterns import normal_host  # noqa: PLC0415  # as above

        options = message.options
        uri = parse_uri(f"{message.scheme}://{message.unresolved_remote}" if remote is None else remote.uri)
        # Where the message really goes; what its options say may be something else.
        there = (uri.scheme, normal_host(uri.host), uri.port)
        is_multicast = is_ip_literal(uri.host) and ip_address(uri.host.partition("%")[0]).is_multicast
        now = time.time()
        method = message.code or 0
        path = options.uri_path
        if options.proxy_uri is None and options.proxy_scheme is None:
            named = (uri.scheme, normal_host(options.uri_host or uri.host), options.uri_port or uri.port)
            chosen = self.credentials.select(*named, path, method, now=now, multicast=is_multicast)
            if chosen.plain and named != there:
                # Uri-Host and Uri-Port do not lead around the credentials of the endpoint that gets the message.
                behind = self.credentials.select(*there, path, method, now=now, multicast=is_multicast)
                if not behind.plain:
                    raise CredentialsMissing(
                        f"a credential is meant for {uri.scheme}://{uri.hostinfo}, and Uri-Host or Uri-Port names "
                        "an authority that has none"
                    )
            return chosen
        # What protects the hop is the proxy's affair, and only OSCORE reaches through it to the target.
        hop = self.credentials.select(*there, (), method, now=now, multicast=is_multicast, usable=frozenset({"dtls"}))
        if options.proxy_uri is not None:
            target = parse_uri(options.proxy_uri)
            inner = self.credentials.select(
                target.scheme, target.host, target.port, target.path, method, now=now, proxied=True
            )
        else:
            inner = self.credentials.select(
                options.proxy_scheme or "", options.uri_host or uri.host, options.uri_port, path, method,
                now=now, proxied=True,
            )  # fmt: skip
        return Selection(hop.dtls, inner.oscore)

    # DTLS.

    def select_dtls(self, message: Message) -> DtlsPsk | None:
        """The key with which a session for a request of ours is made.

        Raises:
            CredentialsMissing: a credential is meant for it and cannot be used.
        """
        selection = self.select(message)
        return None if selection is None else selection.dtls

    def find_psk(self, identity: bytes) -> DtlsPsk | None:
        """The credential of a peer that presents a PSK identity; it has proved nothing yet."""
        return None if self.credentials is None else self.credentials.find_psk(identity, time.time())

    # State.

    async def open_all(self) -> None:
        """Own every OSCORE context before the first datagram is read: from then on all windows are known or void.

        Raises:
            StateError, ContextInUse: state cannot be had.
        """
        if self.credentials is None:
            return
        from securecoap.credentials import OscoreContext  # noqa: PLC0415  # as above
        from securecoap.state import StateRequest  # noqa: PLC0415  # opens SQLite

        wanted = [one for one in self.credentials.credentials() if isinstance(one, OscoreContext)]
        if not wanted:
            return
        derived = [_derive(one) for one in wanted]
        requests = [StateRequest(name, one.label, one.basedir) for one, (_, name) in zip(wanted, derived, strict=True)]
        handles = await self._open_store().open_many(requests, wait=self._wait)
        for credential, (context, _), handle in zip(wanted, derived, handles, strict=True):
            self._adopt(credential, context, handle)

    async def _open(self, credential: OscoreContext) -> SecurityContext:
        context = self._contexts.get(credential.key)
        if context is not None:
            return context
        task = self._opening.get(credential.key)
        if task is None:
            task = self._opening[credential.key] = asyncio.ensure_future(self._open_one(credential))
            task.add_done_callback(lambda _: self._opening.pop(credential.key, None))
        return await asyncio.shield(task)

    async def _open_one(self, credential: OscoreContext) -> SecurityContext:
        context, name = _derive(credential)
        handle = await self._open_store().open(
            name, label=credential.label, basedir=credential.basedir, wait=self._wait
        )
        return self._adopt(credential, context, handle)

    def _open_store(self) -> StateStore:
        if self._store is None:
            from securecoap.state import SqliteStateStore  # noqa: PLC0415  # only where there is something to keep

            directory = None if self._state is None else Path(self._state)
            self._store = SqliteStateStore(directory, strict=self._strict)
        return self._store

    def _adopt(self, credential: OscoreContext, context: SecurityContext, handle: ContextState) -> SecurityContext:
        """Put a context and its state together, or take the one that another map or transport made of them."""
        from securecoap.oscore.context import SecurityContext  # noqa: PLC0415  # with cryptography
        from securecoap.oscore.sender import Sender  # noqa: PLC0415

        if self._loop is None:
            raise StateError("the endpoint is not running")
        if isinstance(handle.companion, SecurityContext):
            context = handle.companion
            if self.access is not None and context.claims != credential.claims:
                # A peer would be known here by the claims of another endpoint's file: rather no server.
                raise ConfigurationError(
                    f"{credential.label}: another endpoint of this process uses the same context with other claims"
                )
        else:
            handle.companion = context
            context.sender = Sender(handle, self._loop, capacity=self._limits.queued_per_peer)
            context.label = credential.label
            context.claims = credential.claims
            _restore_window(context, handle.take_window(), accept_first=not credential.echo)
        self._contexts[credential.key] = context
        self._found.clear()
        self._handles[credential.key] = handle
        self._watch_validity(credential)
        return context

    def _watch_validity(self, credential: OscoreContext) -> None:
        left = credential.validity.not_after - time.time()
        if left != float("inf") and self._expiries is not None and self._loop is not None:
            self._expiries.add(self._loop.time() + min(left, _EXPIRY_INTERVAL), credential)

    def _expire(self, credential: OscoreContext, _now: float) -> None:
        """A credential that has expired opens nothing any more, and ends what is under way (the design, section 6)."""
        if time.time() < credential.validity.not_after:
            self._watch_validity(credential)
        elif (context := self._contexts.get(credential.key)) is not None:
            for layer in self._layers:
                layer.release(context, SessionEnded("its OSCORE credential is not valid any more"))

    async def close(self) -> None:
        """Give every context up, with its replay window saved, and close the store."""
        for task in list(self._opening.values()):
            task.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        if self._expiries is not None:
            self._expiries.close()
        contexts, self._contexts = self._contexts, {}
        self._found.clear()
        handles, self._handles = self._handles, {}
        for layer in self._layers:
            for context in contexts.values():
                layer.release(context, SessionEnded("the endpoint was closed"))
        store, self._store = self._store, None
        if store is not None:
            await store.close_many([(handle, _saved_window(contexts[key])) for key, handle in handles.items()])
            for key, handle in handles.items():
                if handle.companion is None:  # nobody else in this process uses it
                    contexts[key].retire()
            await store.close()


def _derive(credential: OscoreContext) -> tuple[SecurityContext, bytes]:
    """The security context of a credential, without state, and the fingerprint under which its state is kept."""
    from securecoap.oscore.algorithms import ALGORITHMS  # noqa: PLC0415  # with cryptography
    from securecoap.oscore.context import SecurityContext, derive_keys  # noqa: PLC0415
    from securecoap.oscore.window import ReplayWindow  # noqa: PLC0415
    from securecoap.state import fingerprint  # noqa: PLC0415

    algorithm = ALGORITHMS[credential.algorithm.number]
    keys = derive_keys(
        credential.secret.reveal(),
        credential.salt,
        credential.sender_id,
        credential.recipient_id,
        id_context=credential.id_context,
        algorithm=algorithm,
        hash_name=credential.hash_name,
    )
    context = SecurityContext(
        keys,
        credential.sender_id,
        credential.recipient_id,
        id_context=credential.id_context,
        algorithm=algorithm,
        window=ReplayWindow(credential.window, void=True),
    )
    return context, fingerprint(keys.sender_key, keys.common_iv, credential.sender_id, algorithm.number)


def _restore_window(context: SecurityContext, saved: SavedWindow | None, *, accept_first: bool) -> None:
    window = context.window
    if saved is not None:
        fitted = saved.fit(window.size)
        with suppress(ValueError):  # what cannot be a window tells nothing: then the void stays, until an Echo
            window.restore(fitted.highest, fitted.seen, proven=fitted.proven)
    elif accept_first:  # "echo": false in the entry, documented as weaker
        window.start_unproven()


def _saved_window(context: SecurityContext) -> SavedWindow | None:
    from securecoap.state import SavedWindow  # noqa: PLC0415  # as above

    window = context.window
    return None if window.void else SavedWindow(window.highest, window.seen, window.size, window.proven)
