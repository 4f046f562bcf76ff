"""Between the credentials of a file and those of a DTLS engine: what a client offers, and a server's stores.

What a peer proves becomes claims here: labels, the entry's claims, and ``san:NAME`` for each name that an authority has
certified (RFC 7252 section 9.1.3). A look-up may be awaitable; then the handshake waits for it. Nothing here knows
sessions or datagrams.
"""

from __future__ import annotations

import inspect
import logging
from base64 import urlsafe_b64encode
from dataclasses import replace
from functools import partial
from hashlib import sha256
from time import time as wall_clock
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_private_key

from securecoap.credentials.models import Credential, DtlsPsk, DtlsRpk, DtlsX509, Validity
from securecoap.credentials.names import has_authority, normal_name
from securecoap.dtls.alerts import Alert
from securecoap.dtls.certificates import CLIENT, SERVER, TrustStore, Verified, names_of
from securecoap.dtls.identities import CertificateType, KeyCredential, OwnKey, Proof, Refusal
from securecoap.dtls.parameters import PskCredential
from securecoap.dtls.pending import Pending
from securecoap.dtls.signatures import CERTIFICATE_SCHEMES, RAW_KEY_SCHEMES, schemes_of
from securecoap.errors import ConfigurationError
from securecoap.wire.uri import parse_uri

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Sequence

    from securecoap.credentials.dtls_peers import DtlsPeers
    from securecoap.credentials.models import DtlsCredential
    from securecoap.dtls.identities import ClientCredential, Verdict
    from securecoap.dtls.signatures import PrivateKey
    from securecoap.wire.message import Message

__all__ = ["ServerStore", "authority_of", "engine_credential", "public_key_name"]

_NO_LIMIT: Final = float("-inf")
_MOST_MADE: Final = 1024
"""Pre-shared keys of a server that are kept as the engine needs them; then they are made anew."""

_log = logging.getLogger(__name__)


def public_key_name(subject_public_key_info: bytes) -> str:
    """The name of a raw public key (RFC 6920 section 3, RFC 7252 section 9.1.3.2.1)."""
    return "ni:///sha-256;" + urlsafe_b64encode(sha256(subject_public_key_info).digest()).rstrip(b"=").decode()


def authority_of(message: Message) -> str:
    """The authority (host and maybe port) for which a request's DTLS session is made."""
    remote = message.unresolved_remote or ""
    options = message.options
    host = options.uri_host
    if host is None or options.proxy_uri is not None or options.proxy_scheme is not None:
        return remote
    if remote == host or remote.startswith(f"{host}:"):
        return remote
    # Uri-Host names another authority than the one that gets the message: that is who has to be there.
    port = options.uri_port or parse_uri(f"coaps://{remote}").port
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# What a client offers.


def engine_credential(credential: DtlsCredential) -> ClientCredential:
    """What the engine is given for a request to ``credential.authority``."""
    where = parse_uri(f"coaps://{credential.authority}") if credential.authority else None
    server_name = None if where is None else where.host
    if isinstance(credential, DtlsPsk):
        return PskCredential(
            credential.identity, credential.psk.reveal(), credential.claims, credential, server_name=server_name
        )
    if isinstance(credential, DtlsRpk):
        judge = partial(_judge_raw_server, credential)
        return KeyCredential(CertificateType.RAW_PUBLIC_KEY, _raw_key(credential), judge, server_name, credential)
    if not isinstance(credential, DtlsX509):
        raise ConfigurationError(f"{credential.kind} makes no DTLS session")
    own = None if credential.private_key is None else _certified_key(credential)
    authority = ("", 0) if where is None else (where.host, where.port)
    store = TrustStore(credential.authorities, SERVER)
    judge = partial(_judge_certified_server, credential, store, authority)
    return KeyCredential(CertificateType.X509, own, judge, server_name, credential)


def _judge_raw_server(credential: DtlsRpk, chain: tuple[bytes, ...]) -> Verdict:
    name = public_key_name(chain[0])
    for label, key in credential.peer_keys:
        if key == chain[0]:
            claims = credential.claims
            if label and label not in claims:
                claims = (*credential.labels, label, *credential.own_claims)
            return Proof(name.encode(), claims, credential)
    return Refusal(Alert.CERTIFICATE_UNKNOWN, f"its raw public key, {name}, is not among peer-keys", name.encode())


def _judge_certified_server(
    credential: DtlsX509, store: TrustStore, authority: tuple[str, int], chain: tuple[bytes, ...]
) -> Verdict:
    verified = store.verify(chain, wall_clock())
    if isinstance(verified, Refusal):
        return verified
    wanted = credential.peer_names
    if has_authority(verified.names, *authority) if wanted is None else not set(wanted).isdisjoint(verified.names):
        return _certified(credential, verified)
    has = ", ".join(verified.names) or "nobody"
    needs = authority[0] if wanted is None else " or ".join(wanted)
    return Refusal(Alert.BAD_CERTIFICATE, f"its certificate is for {has}, not for {needs}")


def _certified(credential: DtlsX509, verified: Verified) -> Proof:
    """What a chain proves; not for longer than it is valid."""
    claims = (*credential.claims, *(f"san:{name}" for name in verified.names))
    validity = credential.validity.meet(Validity(_NO_LIMIT, verified.not_after))
    identity = verified.names[0] if verified.names else ""
    return Proof(identity.encode(), claims, replace(credential, validity=validity))


def _raw_key(credential: DtlsRpk) -> OwnKey:
    key = _load(credential.private_key.reveal())
    schemes = schemes_of(key, RAW_KEY_SCHEMES)
    return OwnKey(key, CertificateType.RAW_PUBLIC_KEY, (credential.public_key,), schemes)


def _certified_key(credential: DtlsX509) -> OwnKey:
    key = _load(b"" if credential.private_key is None else credential.private_key.reveal())
    return OwnKey(key, CertificateType.X509, credential.certificates, schemes_of(key, CERTIFICATE_SCHEMES))


def _load(private: bytes) -> PrivateKey:
    key: Any = load_der_private_key(private, None)  # its kind was checked when the file was read
    return key  # type: ignore[no-any-return]  # as above


# What a server knows.


class _Own:
    """A key of ours, whose names are those that clients may ask for."""

    __slots__ = ("key", "names", "validity")

    def __init__(self, key: OwnKey, validity: Validity, names: tuple[str, ...] = ()) -> None:
        self.key = key
        self.validity = validity
        self.names = names


class ServerStore:
    """A server's pre-shared keys (``look_up``), its own keys, and its peers with keys: a `ServerKeys`.

    Args:
        loop: on which look-ups wait.
        find_psk: the credential of an identity, or an awaitable of it; ``None`` for nobody.
        find_peers: the raw public keys and certificates as they are now; ``None`` for none.
        answered: called when a look-up that waited has been answered.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        find_psk: Callable[[bytes], DtlsPsk | Awaitable[DtlsPsk | None] | None],
        find_peers: Callable[[], DtlsPeers | None],
        answered: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._find_psk = find_psk
        self._find_peers = find_peers
        self._answered = answered
        self._waiting: set[asyncio.Task[None]] = set()
        # By identity, what was made of the credential that was found last: only of those that exist.
        self._made: dict[bytes, PskCredential] = {}
        self._peers: DtlsPeers | None = None
        self._raw: list[_Own] = []
        self._certificates: list[_Own] = []
        self._trust: TrustStore | None = None

    def look_up(self, identity: bytes) -> PskCredential | Pending | None:
        """See `PskLookup`."""
        found = self._find_psk(identity)
        made = self._made.get(identity)
        if made is not None and made.source is found:
            return made
        if isinstance(found, DtlsPsk):
            if len(self._made) >= _MOST_MADE:
                self._made.clear()
            made = self._made[identity] = _made_of(found)
            return made
        self._made.pop(identity, None)
        answer: Any = self._settle(found, _engine_psk)
        return answer  # type: ignore[no-any-return]  # what _engine_psk gives, or Pending

    def own_keys(self, server_name: str | None) -> Sequence[OwnKey]:
        """See `ServerKeys`: raw public keys, then certificates, those for the name that is asked for first."""
        self._refresh()
        now = wall_clock()
        certificates = self._certificates
        if server_name is not None and len(certificates) > 1:
            name = normal_name(server_name)
            certificates = sorted(certificates, key=lambda one: name not in one.names)
        return [one.key for one in (*self._raw, *certificates) if one.validity.covers(now)]

    def has_psk(self) -> bool:
        """See `ServerKeys`."""
        peers = self._find_peers()
        if peers is not self._peers:
            self._refresh()
        return peers is None or peers.has_psk

    def accepts(self, certificate_type: CertificateType) -> bool:
        """See `ServerKeys`."""
        self._refresh()
        return bool(self._raw) if certificate_type is CertificateType.RAW_PUBLIC_KEY else self._trust is not None

    def authorities(self) -> bytes:
        """See `ServerKeys`."""
        return b"" if self._trust is None else self._trust.encoded_names

    def judge(self, certificate_type: CertificateType, chain: tuple[bytes, ...]) -> Verdict | Pending:
        """See `ServerKeys`."""
        self._refresh()
        now = wall_clock()
        answer: Any
        if self._peers is None:
            return Refusal(Alert.ACCESS_DENIED, "nobody is known by a key here any more")
        if certificate_type is CertificateType.RAW_PUBLIC_KEY:
            found = self._peers.find_raw_key(chain[0], now)
            answer = self._settle(found, partial(_judge_raw_client, public_key_name(chain[0]).encode()))
            return answer  # type: ignore[no-any-return]  # a Verdict, or Pending
        if self._trust is None:
            return Refusal(Alert.UNKNOWN_CA, "no authority is trusted here any more")
        verified = self._trust.verify(chain, now)
        if isinstance(verified, Refusal):
            return verified
        candidate = self._peers.find_certified(verified.anchor, verified.names, now)
        answer = self._settle(candidate, partial(_judge_certified_client, verified))
        return answer  # type: ignore[no-any-return]  # as above

    def close(self) -> None:
        """Wait for nobody any more."""
        for task in self._waiting:
            task.cancel()

    def _settle(self, found: Any, make: Callable[[Any], Any]) -> Any:
        """Make the engine's answer of what was found, or is going to be."""
        if found is None or isinstance(found, Credential) or not inspect.isawaitable(found):
            return make(found)
        pending = Pending()
        task = self._loop.create_task(self._wait(found, make, pending))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)
        return pending

    async def _wait(self, found: Awaitable[Any], make: Callable[[Any], Any], pending: Pending) -> None:
        try:
            answer = await found
        except Exception:  # noqa: BLE001  # whatever a store raises: nobody was found, and somebody has to know why
            _log.exception("a store of DTLS credentials failed")
            answer = None
        pending.answer(make(answer), self._loop.time())
        self._answered()

    def _refresh(self) -> None:
        """Follow a reload: another object means other keys."""
        peers = self._find_peers()
        if peers is self._peers:
            return
        self._peers = peers
        self._raw, self._certificates, self._trust = [], [], None
        self._made.clear()
        if peers is None:
            return
        self._raw = [_Own(_raw_key(one), one.validity) for one in peers.raw_keys]
        for one in peers.certificates:
            leaf = x509.load_der_x509_certificate(one.certificates[0])
            self._certificates.append(_Own(_certified_key(one), one.validity, names_of(leaf)))
        if peers.authorities:
            self._trust = TrustStore(peers.authorities, CLIENT)


def _made_of(found: DtlsPsk) -> PskCredential:
    return PskCredential(found.identity, found.psk.reveal(), found.claims, found)


def _engine_psk(found: DtlsPsk | None) -> PskCredential | None:
    return None if found is None else _made_of(found)


def _judge_raw_client(name: bytes, found: DtlsRpk | None) -> Verdict:
    if found is None:
        return Refusal(Alert.ACCESS_DENIED, "nobody here has this raw public key", name)
    return Proof(name, found.claims, found)


def _judge_certified_client(verified: Verified, found: DtlsX509 | None) -> Verdict:
    if found is None:
        name = verified.names[0] if verified.names else ""
        return Refusal(Alert.ACCESS_DENIED, "nobody is expected with the names in its certificate", name.encode())
    return _certified(found, verified)
