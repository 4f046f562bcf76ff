"""What the credentials of one endpoint become: security contexts that own their state, keys of sessions, access.

It stands between rooms that must not know each other. OSCORE contexts and their state are `security_contexts`' affair.
No message passes here.
"""

from __future__ import annotations

import random
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from securecoap.access import Access
from securecoap.config import TransportParameters
from securecoap.errors import ConfigurationError, CredentialsMissing, StateError
from securecoap.events import Events
from securecoap.expiry import ExpiryWatch
from securecoap.oscore.agreement import AgreementRefused
from securecoap.wire.uri import is_ip_literal, parse_uri

if TYPE_CHECKING:
    import asyncio
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from securecoap.config import Limits
    from securecoap.credentials import CredentialsMap, DtlsPsk, OwnNames, Selection
    from securecoap.credentials.dtls_peers import DtlsPeers
    from securecoap.credentials.models import DtlsCredential, EdhocOscore, OscoreContext
    from securecoap.edhoc.endpoint import EdhocEndpoint
    from securecoap.errors import CoapError
    from securecoap.interfaces import EndpointAddress, Resource, ResourceTree
    from securecoap.oscore.agreement import KeyAgreement
    from securecoap.oscore.context import SecurityContext
    from securecoap.oscore.layer import OscoreLayer
    from securecoap.oscore.rederivation import Rederivation
    from securecoap.security_contexts import SecurityContexts
    from securecoap.state import StateStore
    from securecoap.wire.message import Message

    _Path: TypeAlias = str | os.PathLike[str]
    Source: TypeAlias = CredentialsMap | dict[str, Any] | _Path | Sequence[_Path]

__all__ = ["Keyring"]


class Keyring:
    """Security contexts, state and policy of one endpoint; a `ContextSource` for its OSCORE layers.

    Args:
        credentials: file, dict, map, or ``None`` for none.
        state: the state directory, ``None`` for the user's, or what has the state already.
        strict_state: whether a store that does not exist yet is an error.
        names: host names of this endpoint, beside its addresses.
        bound: the address literals that are bound; empty for a client.
        limits: handed on.
        wait: seconds to wait for another process that owns a context.
        parameters: of the message layer.
        events: takes reports; handed on.

    Attributes:
        credentials: the map, or ``None``.
        access: the server's policy, or ``None`` for a client and for a server that is open.
        found: see `securecoap.oscore.layer.ContextSource`; nothing where sessions of EDHOC come first.

    Raises:
        CredentialsFault: the credentials are faulty.
    """

    def __init__(
        self,
        credentials: CredentialsMap | str | os.PathLike[str] | dict[str, Any] | None,
        *,
        state: StateStore | str | os.PathLike[str] | None,
        strict_state: bool,
        names: Iterable[str],
        bound: Sequence[str],
        limits: Limits,
        wait: float,
        parameters: TransportParameters | None = None,
        events: Events | None = None,
    ) -> None:
        self.credentials: CredentialsMap | None = None
        self.access: Access | None = None
        self._layers: list[OscoreLayer] = []
        self._contexts: SecurityContexts | None = None
        self.found: Mapping[tuple[bytes, bytes | None], Sequence[SecurityContext]] = {}
        self._edhoc: EdhocEndpoint | None = None
        self._own: OwnNames | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._limits = limits
        self._events = events or Events(time.monotonic)
        self._expiry = ExpiryWatch(self._events, time.time)
        self._parameters = parameters or TransportParameters()
        if credentials is None:
            return
        # Loaded only where there are credentials: with them comes what parses keys and certificates.
        from securecoap.credentials import OwnNames, as_credentials_map  # noqa: PLC0415
        from securecoap.security_contexts import SecurityContexts  # noqa: PLC0415

        loaded = as_credentials_map(credentials, role="server" if bound else "client")
        if bound:
            literals = [ip_address(host.partition("%")[0]) for host in bound]
            reaches_loopback = any(one.is_loopback or one.is_unspecified for one in literals)
            self._own = OwnNames(bound, names, loopback=reaches_loopback)
            loaded = loaded.for_server(self._own)
            self.access = Access(loaded.policy, self._own)
        self.credentials = loaded
        self._contexts = SecurityContexts(
            loaded,
            self._layers,
            state=state,
            strict=strict_state,
            is_server=bool(bound),
            limits=limits,
            expiry=self._expiry,
            wait=wait,
        )
        self.found = self._contexts.found
        self._expiry.use(loaded)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop on which everything runs."""
        self._loop = loop
        if self._contexts is not None:
            self._contexts.attach(loop)
        self._expiry.attach(loop)
        self._attach_edhoc()

    def _attach_edhoc(self) -> None:
        if self.credentials is not None and self.credentials.uses_edhoc and self._loop is not None:
            from securecoap.edhoc.endpoint import EdhocEndpoint  # noqa: PLC0415  # only where there are such keys

            self.found = {}
            self._edhoc = EdhocEndpoint(
                self.credentials, self._loop, random.SystemRandom(), time.time, self._limits, self._parameters,
                self._release, self._events, self._expiry.report_use,
            )  # fmt: skip

    def _release(self, context: SecurityContext, error: CoapError) -> None:
        for layer in self._layers:
            layer.release(context, error)

    def add_layer(self, layer: OscoreLayer) -> None:
        """A layer that is to be told when a context ends."""
        self._layers.append(layer)

    # Other credentials.

    def read(self, source: Source) -> CredentialsMap:
        """Credentials in the place of these, checked; may be called in another thread.

        Raises:
            CredentialsFault: with all faults.
            ConfigurationError: the endpoint began without credentials.
        """
        if self.credentials is None:
            raise ConfigurationError("an endpoint that has no credentials gets none while it runs")
        from securecoap.credentials import as_credentials_map  # noqa: PLC0415  # loaded already, as above

        if self._own is None:
            return as_credentials_map(source, role="client")
        return as_credentials_map(source, role="server").for_server(self._own)

    async def replace(self, loaded: CredentialsMap, check: Callable[[], None], follow: Callable[[], None]) -> None:
        """Own the security contexts that are new, then go on with other credentials, all at once.

        Args:
            loaded: of `read`.
            check: called at the last moment before anything changes; what it raises leaves everything as it was.
            follow: called in the moment in which everything here has changed.

        Raises:
            StateError, ContextInUse, ConfigurationError: see `SecurityContexts.prepare`.
        """
        contexts = self._contexts
        assert contexts is not None  # there are credentials: `read` has seen to it
        opened = await contexts.prepare(loaded)
        try:
            check()
        except BaseException:
            await contexts.abandon(opened)
            raise
        self.credentials = loaded
        self._expiry.use(loaded)
        if self.access is not None:
            self.access.use(loaded.policy)
        closings = contexts.use(loaded, opened)
        if self._edhoc is None:
            self._attach_edhoc()
        else:
            self._edhoc.update(loaded)
        follow()
        await contexts.let_go(closings)

    # OSCORE contexts.

    def find(self, kid: bytes, kid_context: bytes | None) -> Sequence[SecurityContext]:
        """See `securecoap.oscore.layer.ContextSource.find`."""
        if self._edhoc is not None and kid_context is None and (agreed := self._edhoc.find(kid)) is not None:
            if self._contexts is None or self.credentials is None or not self.credentials.has_oscore_kid(kid):
                return (agreed,)
            return (agreed, *self._contexts.find(kid, None))  # which a reload has brought since
        return () if self._contexts is None else self._contexts.find(kid, kid_context)

    def derivations(self, kid: bytes) -> Sequence[Rederivation]:
        """See `securecoap.oscore.layer.ContextSource.derivations`."""
        return () if self._contexts is None else self._contexts.derivations(kid)

    def complete(self, kid: bytes, payload: bytes, remote: EndpointAddress) -> bytes:
        """See `securecoap.oscore.layer.ContextSource.complete`."""
        if self._edhoc is None:
            raise AgreementRefused("there is no EDHOC here")
        return self._edhoc.complete(kid, payload, remote)

    def tree(
        self, site: ResourceTree | Resource | None, make_echo: Callable[[EndpointAddress], bytes]
    ) -> ResourceTree | Resource | None:
        """The resources of an endpoint, with what its credentials need beside them.

        Args:
            site: of the application.
            make_echo: makes an Echo value for an address.
        """
        if self._edhoc is None or self.credentials is None or not self.credentials.edhoc:
            return site
        return self._edhoc.tree(site, make_echo)

    def known(self, message: Message) -> SecurityContext | KeyAgreement | Literal[False] | None:
        """See `securecoap.oscore.layer.ContextSource.known`."""
        if self.credentials is None and message.scheme == "coap":
            return None  # as `select` says, for each request of those who have none
        selection = self.select(message)
        if selection is None or selection.oscore is None:
            return None
        if selection.oscore.kind == "edhoc-oscore" and self._edhoc is not None:
            return self._edhoc.agreement(cast("EdhocOscore", selection.oscore))
        if self._contexts is None:
            return False
        return self._contexts.known(cast("OscoreContext", selection.oscore)) or False

    async def for_request(self, message: Message) -> SecurityContext | KeyAgreement | None:
        """See `securecoap.oscore.layer.ContextSource.for_request`."""
        selection = self.select(message)
        if selection is None or selection.oscore is None:
            return None
        if selection.oscore.kind == "edhoc-oscore" and self._edhoc is not None:
            return self._edhoc.agreement(cast("EdhocOscore", selection.oscore))
        if self._contexts is None:
            raise StateError("the endpoint is not running")
        return await self._contexts.for_request(cast("OscoreContext", selection.oscore))

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
        from securecoap.credentials.client import DTLS_KINDS  # noqa: PLC0415  # as above
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
        hop = self.credentials.select(*there, (), method, now=now, multicast=is_multicast, usable=DTLS_KINDS)
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

    def select_dtls(self, message: Message) -> DtlsCredential | None:
        """The key with which a session for a request of ours is made.

        Raises:
            CredentialsMissing: a credential is meant for it and cannot be used.
        """
        selection = self.select(message)
        return None if selection is None else selection.dtls

    def find_psk(self, identity: bytes) -> DtlsPsk | None:
        """The credential of a peer that presents a PSK identity; it has proved nothing yet."""
        if self.credentials is None:
            return None
        found = self.credentials.find_psk(identity, time.time())
        if found is None:
            self._expiry.report_use(self.credentials.find_psk(identity, None))
        return found

    def find_dtls_peers(self) -> DtlsPeers | None:
        """A DTLS server's raw public keys and certificates, and its peers that have some."""
        return None if self.credentials is None else self.credentials.dtls_peers

    @property
    def edhoc_session_count(self) -> int:
        """Contexts that were agreed on and have not ended."""
        return 0 if self._edhoc is None else len(self._edhoc.sessions)

    # State.

    async def open_all(self) -> None:
        """Own every OSCORE context before the first datagram is read: from then on all windows are known or void.

        Raises:
            StateError, ContextInUse: state cannot be had.
        """
        if self._contexts is not None:
            await self._contexts.open_all()

    async def close(self) -> None:
        """Give every context up, with its replay window saved, and close the store."""
        self._expiry.close()
        if self._edhoc is not None:
            await self._edhoc.close()
        if self._contexts is not None:
            await self._contexts.close()
