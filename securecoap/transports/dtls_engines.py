"""Which DTLS engine an endpoint has: ours in Python, or tinydtls in C; and what is asked of one that it cannot do.

The only module that knows every engine by name. Must not know sockets or messages.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from securecoap.credentials.faults import Report
from securecoap.credentials.models import DtlsPsk, DtlsRpk, DtlsX509
from securecoap.errors import ConfigurationError

if TYPE_CHECKING:
    from securecoap.credentials import CredentialsMap
    from securecoap.dtls.engine import DtlsEngine, DtlsEvents
    from securecoap.dtls.identities import ServerKeys
    from securecoap.dtls.parameters import DtlsParameters, KeyLog, PskLookup

__all__ = ["open_engine", "require_engine"]


def open_engine(
    name: str,
    events: DtlsEvents,
    *,
    now: float,
    parameters: DtlsParameters,
    lookup: PskLookup | None = None,
    keys: ServerKeys | None = None,
    key_log: KeyLog | None = None,
) -> DtlsEngine:
    """Return the engine of this name; the arguments are those of `Endpoint`.

    Raises:
        ConfigurationError: there is no such engine, or it cannot do what is asked of it.
    """
    if name == "python":
        from securecoap.dtls.endpoint import Endpoint  # noqa: PLC0415  # one engine is loaded, not both

        return Endpoint(
            events,
            random=os.urandom,
            now=now,
            parameters=parameters,
            lookup=lookup,
            keys=keys,
            key_log=key_log,
        )
    _require_known(name)
    _require_no_key_log(key_log is not None)
    from securecoap.dtls.tinydtls import TinydtlsEndpoint  # noqa: PLC0415  # as above

    return TinydtlsEndpoint(events, random=os.urandom, now=now, parameters=parameters, lookup=lookup)


def require_engine(name: str, credentials: CredentialsMap | None, *, has_key_log: bool = False) -> None:
    """Refuse an engine that is not there, or cannot have these credentials: when they are read, not when they are used.

    Raises:
        CredentialsFault: names every credential that it cannot have, with the reason.
        ConfigurationError: there is no such engine, it is not installed, or it writes no key log.
    """
    if name == "python":
        return
    _require_known(name)
    from securecoap.dtls.tinydtls_association import load_tinydtls  # noqa: PLC0415  # as above
    from securecoap.dtls.tinydtls_session import why_not_tinydtls  # noqa: PLC0415

    load_tinydtls()
    _require_no_key_log(has_key_log)
    report = Report()
    for credential in () if credentials is None else credentials.credentials():
        fault = None
        if isinstance(credential, DtlsPsk):
            fault = why_not_tinydtls(credential.identity, credential.psk.reveal())
            if fault is None and credential.identity_hint is not None:
                fault = "it sends no identity hint"
        elif isinstance(credential, DtlsRpk | DtlsX509):
            fault = why_not_tinydtls(b"", None)
        if fault is not None and credential.place is not None:
            report.fault(credential.place, f"the DTLS engine 'tinydtls' cannot use it: {fault}")
    report.raise_faults()


def _require_known(name: str) -> None:
    if name != "tinydtls":
        raise ConfigurationError(f"there is no DTLS engine {name!r}; there are 'python' and 'tinydtls'")


def _require_no_key_log(has_key_log: bool) -> None:
    if has_key_log:
        raise ConfigurationError("the DTLS engine 'tinydtls' tells no secrets: it has no key log")
