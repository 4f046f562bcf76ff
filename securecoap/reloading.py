"""Other credentials for an endpoint that runs: all of them or none, and nothing interrupted that they still allow.

The files are read in a thread, and security contexts that are new are owned, before anything changes. Then everything
changes in one step of the loop, with no datagram in between: keys, policy, sessions, and what is under way. What a
credential is, or who holds it, is not known here.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from securecoap.binds import require_dtls
from securecoap.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from securecoap.core.serving import Server
    from securecoap.credentials import CredentialsMap
    from securecoap.interfaces import EndpointAddress
    from securecoap.keyring import Keyring, Source
    from securecoap.settings import ClientSettings, ServerSettings
    from securecoap.stacks import Stack
    from securecoap.wire.uri import ParsedUri

__all__ = ["Reloading"]

_log = logging.getLogger(__name__)


class Reloading:
    """See the module.

    Args:
        settings: what the endpoint was told.
        binds: what it has bound.
        keyring: what the credentials become.
        server: what peers have asked of it is asked about again.
        stacks: those of the endpoint; the list may grow.
        make_echo: makes Echo values.
    """

    def __init__(
        self,
        settings: ClientSettings | ServerSettings,
        binds: Sequence[ParsedUri],
        keyring: Keyring,
        server: Server,
        stacks: Sequence[Stack],
        make_echo: Callable[[EndpointAddress], bytes],
    ) -> None:
        self._settings = settings
        self._binds = binds
        self._keyring = keyring
        self._server = server
        self._stacks = stacks
        self._make_echo = make_echo
        self._turn = asyncio.Lock()
        self._is_closed = False

    async def reload(self, source: Source) -> CredentialsMap:
        """Replace the credentials; one reload after the other.

        Raises:
            CredentialsFault: the credentials are faulty; every fault is named. As with the others, nothing was changed.
            ConfigurationError: the endpoint has no credentials, is about to end, or cannot have these.
            StateError, ContextInUse: the state of a security context cannot be had.
        """
        async with self._turn:
            self._check()
            loaded = await asyncio.to_thread(self._keyring.read, source)
            self._check_use(loaded)
            await self._keyring.replace(loaded, self._check, lambda: self._follow(loaded))
            return loaded

    def _follow(self, loaded: CredentialsMap) -> None:
        """Everything that goes on follows the keyring, which has other credentials."""
        for stack in self._stacks:
            stack.manager.client_credentials = loaded
            interface: Any = stack.manager.interface
            if interface.scheme == "coaps":
                interface.renew_sessions(loaded.current)
        self._server.use(self._keyring.tree(self._settings.site, self._make_echo))
        self._server.review([one for stack in self._stacks for one in stack.tokens.incoming()])

    def close(self) -> None:
        """Change nothing any more."""
        self._is_closed = True

    def _check(self) -> None:
        if self._is_closed:
            raise ConfigurationError("the endpoint is about to end; its credentials stay as they are")

    def _check_use(self, loaded: CredentialsMap) -> None:
        """What was asked of the first credentials is asked of these."""
        if self._settings.engine != "python":
            from securecoap.transports.dtls_engines import require_engine  # noqa: PLC0415  # only where it was used

            require_engine(self._settings.engine, loaded, has_key_log=self._settings.keylog is not None)
        require_dtls(self._binds, serves_dtls=loaded.serves_dtls)
        before = self._keyring.credentials
        if before is not None and before.identity_hint != loaded.identity_hint:
            _log.warning("the identity hint has changed; clients get the new one after the next start")
