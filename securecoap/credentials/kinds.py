"""The kinds of credentials, each with the table of its members: from parsed JSON to a `Credential`.

Must not know labels, references or requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from securecoap.credentials import keys
from securecoap.credentials.algorithms import (
    DEFAULT_ALGORITHM,
    DEFAULT_HASH,
    DEFAULT_WINDOW,
    MAXIMUM_ID_CONTEXT,
    MAXIMUM_WINDOW,
    parse_algorithm,
    parse_hash,
)
from securecoap.credentials.basedir import read_basedir
from securecoap.credentials.edhoc import EDHOC_MEMBERS, EDHOC_REQUIRED, parse_edhoc
from securecoap.credentials.models import (
    Credential,
    DtlsPsk,
    DtlsRpk,
    DtlsX509,
    GroupOscore,
    OscoreContext,
    OscoreDraft,
    TlsCertificate,
    digest,
)
from securecoap.credentials.names import normal_name
from securecoap.credentials.secret import Secret
from securecoap.credentials.sources import SourceError
from securecoap.credentials.values import (
    ListOf,
    Octets,
    Parser,
    Reading,
    Whole,
    parse_bool,
    parse_octets,
    parse_path,
    parse_text,
)

if TYPE_CHECKING:
    from pathlib import Path

    from securecoap.credentials.algorithms import AeadParameters
    from securecoap.credentials.faults import Place

__all__ = [
    "KINDS", "MAXIMUM_IDENTITY", "MAXIMUM_PSK", "SHORT_KEY", "TABLES", "oscore_context",
    "parse_peer_keys",
]  # fmt: skip

MAXIMUM_PSK: Final = 512
"""Bytes of the longest pre-shared key: OpenSSL's limit; RFC 4279 section 5.3 asks for 64."""
MAXIMUM_IDENTITY: Final = 256
"""Bytes of the longest PSK identity: OpenSSL's limit; RFC 4279 section 5.3 asks for 128."""
SHORT_KEY: Final = 16
"""A key with fewer bytes is weaker than the ciphers that it feeds."""

_RAW_KEYS: Final = ("secp256r1", "secp384r1", "ed25519")
_CERTIFIED_KEYS: Final = ("secp256r1", "secp384r1", "rsa")
"""Kinds of keys that sign in DTLS handshakes; Ed25519 for raw public keys only (RFC 8422 section 5.1.3)."""

_OUTSIDE: Final = frozenset({"file", "env", "command"})

Common = dict[str, Any]
"""The fields that every `Credential` has, as keyword arguments."""


def _dtls(reading: Reading, value: Any, place: Place, common: Common) -> Credential | None:
    got = reading.members(value, place, *TABLES["dtls"])
    if got is None:
        return None
    psk: bytes = got["psk"]
    identity: bytes = got["client-identity"]
    hint: bytes | None = got.get("identity-hint")
    if not 1 <= len(psk) <= MAXIMUM_PSK:
        reading.fault(place / "psk", f"the key's length is not in 1 to {MAXIMUM_PSK} bytes")
        return None
    for name, text in (("client-identity", identity), ("identity-hint", hint)):
        if text is not None and not 1 <= len(text) <= MAXIMUM_IDENTITY:
            reading.fault(place / name, f"its length is not in 1 to {MAXIMUM_IDENTITY} bytes")
            return None
    _warn_of_weakness(reading, psk, place, "psk", value["psk"])
    material = digest([b"dtls", _label(common), identity, psk, hint or b""])
    return DtlsPsk(**common, key=material, identity=identity, psk=Secret(psk), identity_hint=hint)


def _label(common: Common) -> bytes:
    return str(common["label"]).encode("utf-8", "surrogatepass")


def _warn_of_weakness(reading: Reading, key: bytes, place: Place, member: str, written: Any) -> None:
    if len(key) < SHORT_KEY:
        reading.report.warning(place / member, f"the key has fewer than {SHORT_KEY} bytes")
    taken = isinstance(written, (dict, Mapping)) and not _OUTSIDE.isdisjoint(written)
    if taken and key.endswith(b"\n") and key.rstrip(b"\n").isascii() and key.rstrip(b"\n").decode().isprintable():
        reading.report.warning(place / member, "the text ends with a line break, which is part of the key")


def _rpk(reading: Reading, value: Any, place: Place, common: Common) -> Credential | None:
    got = reading.members(value, place, *TABLES["dtls-rpk"])
    if got is None:
        return None
    private: bytes = got["private-key"]
    public = keys.matching_public_key(private)
    if got.get("public-key", public) != public:
        reading.fault(place / "public-key", "it does not belong to the private key")
        return None
    peers: tuple[tuple[str, bytes], ...] = got["peer-keys"]
    for name, key in (("private-key", public), *(("peer-keys", key) for _, key in peers)):
        if keys.kind_of(key) not in _RAW_KEYS:
            reading.fault(place / name, f"a raw public key is of a kind that is not used: {', '.join(_RAW_KEYS)}")
            return None
    if len({key for _, key in peers}) != len(peers):
        reading.fault(place / "peer-keys", "one public key is given twice")
        return None
    material = digest([b"rpk", _label(common), private, *(key for _, key in peers)])
    return DtlsRpk(**common, key=material, private_key=Secret(private), public_key=public, peer_keys=peers)


def _x509(reading: Reading, value: Any, place: Place, common: Common) -> Credential | None:
    got = reading.members(value, place, *TABLES["dtls-x509"])
    if got is None:
        return None
    chain: tuple[bytes, ...] = got.get("certificate", ())
    private: bytes | None = got.get("private-key")
    authorities = tuple(dict.fromkeys(certificate for group in got.get("ca", ()) for certificate in group))
    if bool(chain) != (private is not None):
        reading.fault(place, "certificate and private-key belong together")
        return None
    if not chain and not authorities:
        reading.fault(place, "certificate with private-key, or ca, or all of them, are expected")
        return None
    kind = ""
    if private is not None:
        try:
            matches = keys.public_key_of(chain[0]) == keys.matching_public_key(private)
        except keys.KeyFault as error:
            reading.fault(place / "certificate", str(error))
            return None
        kind = keys.kind_of(keys.public_key_of(chain[0])) if matches else ""
        if matches and kind not in _CERTIFIED_KEYS:
            reading.fault(place / "certificate", f"its key is not of a kind that is used: {', '.join(_CERTIFIED_KEYS)}")
            return None
        if not matches:
            reading.fault(place / "private-key", "it does not belong to the first certificate")
            return None
    names: tuple[str, ...] | None = got.get("peer-names")
    shown = [name.encode("utf-8", "surrogatepass") for name in names or ()]
    material = digest([b"x509", _label(common), private or b"", *chain, b"", *authorities, b"", *shown])
    return DtlsX509(
        **common,
        key=material,
        certificates=chain,
        private_key=None if private is None else Secret(private),
        authorities=authorities,
        has_rsa=kind == "rsa",
        peer_names=None if names is None else tuple(dict.fromkeys(normal_name(name) for name in names)),
    )


def _oscore(reading: Reading, value: Any, place: Place, common: Common) -> Credential | None:
    basedir = None
    if isinstance(value, (dict, Mapping)) and "basedir" in value:
        if len(value) != 1:
            reading.fault(place, "basedir stands alone: the directory has the rest")
            return None
        place = place / "basedir"
        basedir = parse_path(reading, value["basedir"], place)
        if basedir is None:
            return None
        value = read_basedir(reading, basedir, place)
        if value is None:
            return None
    # What comes out of a directory has no place of its own in the file.
    got = reading.members(value, place, *TABLES["oscore"])
    if got is None:
        return None
    members = {name.replace("-", "_"): member for name, member in got.items()}
    return oscore_context(reading, place, common, basedir=basedir, written=value["secret"], **members)


def oscore_context(
    reading: Reading,
    place: Place,
    common: Common,
    *,
    secret: bytes,
    sender_id: bytes,
    recipient_id: bytes,
    salt: bytes = b"",
    id_context: bytes | None = None,
    algorithm: AeadParameters = DEFAULT_ALGORITHM,
    kdf_hashfun: str = DEFAULT_HASH,
    window: int = DEFAULT_WINDOW,
    echo: bool = True,
    rederive: bool = False,
    basedir: Path | None = None,
    written: Any = None,
) -> OscoreContext | None:
    """What the parsed members of an ``oscore`` entry make together.

    Args:
        reading: where faults go.
        place: of the entry's kind.
        common: the fields that every credential has.
        secret, sender_id, recipient_id, salt, id_context, algorithm, kdf_hashfun, window, echo, rederive: the members.
        basedir: the directory from which the members are, or ``None``.
        written: the secret as it is written, which says whence it is.
    """
    longest = algorithm.nonce_length - 6
    sound = True
    if len(sender_id) > longest or len(recipient_id) > longest:
        for name, identifier in (("sender-id", sender_id), ("recipient-id", recipient_id)):
            if len(identifier) > longest:
                shown = f"{longest} byte" + ("s" if longest > 1 else "")
                reading.fault(place / name, f"longer than {algorithm.name} allows ({shown}, RFC 8613 section 3.3)")
        sound = False
    if sender_id == recipient_id:
        reading.fault(place / "recipient-id", "the same as sender-id: both sides would use the same key and nonces")
        sound = False
    if not secret:
        reading.fault(place / "secret", "the key is empty")
        sound = False
    if id_context is not None and len(id_context) > MAXIMUM_ID_CONTEXT:
        reading.fault(place / "id-context", f"longer than {MAXIMUM_ID_CONTEXT} bytes")
        sound = False
    if rederive and id_context is not None:
        reading.fault(place / "rederive", "the ID Context is made anew each time: it goes without id-context")
        sound = False
    if not sound:
        return None
    if len(secret) < SHORT_KEY or written is not None:
        _warn_of_weakness(reading, secret, place, "secret", written)
    variant = _variant(algorithm.number, kdf_hashfun, rederive, id_context is None)
    parts = (b"oscore", _label(common), secret, salt, sender_id, recipient_id, id_context or b"", variant)
    context: Any = OscoreDraft()  # to a type checker its fields are frozen already
    context.label = common["label"]
    context.claims = common["claims"]
    context.own_claims = common["own_claims"]
    context.validity = common["validity"]
    context.place = common["place"]
    context.key = digest(parts)
    context.secret = Secret(secret)
    context.salt = salt
    context.sender_id = sender_id
    context.recipient_id = recipient_id
    context.id_context = id_context
    context.algorithm = algorithm
    context.hash_name = kdf_hashfun
    context.window = window
    context.echo = echo
    context.basedir = basedir
    context.rederive = rederive
    made: OscoreContext = context.made()
    return made


@lru_cache(maxsize=64)
def _variant(algorithm: int, hash_name: str, rederive: bool, without_id_context: bool) -> bytes:
    """What beside bytes makes one context another; short, so that the digest of most is one block of its hash."""
    return b"%d %d %d " % (algorithm, rederive, without_id_context) + hash_name.encode()


def _group_oscore(reading: Reading, value: Any, place: Place, common: Common) -> Credential | None:
    got = reading.members(value, place, *TABLES["group-oscore"])
    if got is None:
        return None
    secret: bytes = got["secret"]
    if not secret:
        reading.fault(place / "secret", "the key is empty")
        return None
    _warn_of_weakness(reading, secret, place, "secret", value["secret"])
    salt: bytes = got.get("salt", b"")
    algorithm = got.get("algorithm", DEFAULT_ALGORITHM)
    hash_name: str = got.get("kdf-hashfun", DEFAULT_HASH)
    parts = [secret, salt, got["group-id"], got["sender-id"], algorithm.name.encode(), hash_name.encode()]
    return GroupOscore(
        **common,
        key=digest([b"group-oscore", _label(common), *parts]),
        secret=Secret(secret),
        salt=salt,
        group_id=got["group-id"],
        sender_id=got["sender-id"],
        algorithm=algorithm,
        hash_name=hash_name,
    )


def _tlscert(reading: Reading, value: Any, place: Place, common: Common) -> Credential | None:
    got = reading.members(value, place, *TABLES["tlscert"])
    if got is None:
        return None
    try:
        found = keys.certificates(reading.sources.file(got["certfile"]))
    except (SourceError, keys.KeyFault) as error:
        reading.fault(place / "certfile", str(error))
        return None
    material = digest([b"tlscert", _label(common), *found])
    return TlsCertificate(**common, key=material, file=got["certfile"], certificates=found)


def parse_peer_keys(reading: Reading, value: Any, place: Place) -> tuple[tuple[str, bytes], ...] | None:
    """Public keys of peers, each with its label or none."""
    if isinstance(value, (list, tuple)):
        listed = _PUBLIC_KEYS(reading, value, place)
        return None if listed is None else tuple(("", key) for key in listed)
    if not isinstance(value, Mapping) or not value:
        reading.fault(place, "a list of public keys, or an object from labels to public keys, is expected, not empty")
        return None
    named: list[tuple[str, bytes]] = []
    for label, member in value.items():
        if not isinstance(label, str) or len(label) < 2 or not label.startswith(":"):
            reading.fault(place, 'a peer\'s label begins with ":"')
            continue
        if (key := _PUBLIC_KEY(reading, member, place / label)) is not None:
            named.append((label, key))
    return tuple(named) if len(named) == len(value) else None


_PRIVATE_KEY: Final = Octets(keys.private_key, keys.KeyFault)
_PUBLIC_KEY: Final = Octets(keys.public_key, keys.KeyFault)
_PUBLIC_KEYS: Final = ListOf(_PUBLIC_KEY)
_CERTIFICATES: Final = Octets(keys.certificates, keys.KeyFault)

_DTLS: Final[dict[str, Parser]] = {
    "psk": parse_octets,
    "client-identity": parse_octets,
    "identity-hint": parse_octets,
}
_RPK: Final[dict[str, Parser]] = {
    "private-key": _PRIVATE_KEY,
    "public-key": _PUBLIC_KEY,
    "peer-keys": parse_peer_keys,
}
_X509: Final[dict[str, Parser]] = {
    "certificate": _CERTIFICATES,
    "private-key": _PRIVATE_KEY,
    "ca": ListOf(Octets(keys.authorities, keys.KeyFault)),
    "peer-names": ListOf(parse_text),
}
_OSCORE: Final[dict[str, Parser]] = {
    "secret": parse_octets,
    "salt": parse_octets,
    "sender-id": parse_octets,
    "recipient-id": parse_octets,
    "id-context": parse_octets,
    "algorithm": parse_algorithm,
    "kdf-hashfun": parse_hash,
    "window": Whole(1, MAXIMUM_WINDOW),
    "echo": parse_bool,
    "rederive": parse_bool,
}
_GROUP_OSCORE: Final[dict[str, Parser]] = {
    "secret": parse_octets,
    "salt": parse_octets,
    "group-id": parse_octets,
    "sender-id": parse_octets,
    "algorithm": parse_algorithm,
    "kdf-hashfun": parse_hash,
}
_TLSCERT: Final[dict[str, Parser]] = {"certfile": parse_path}

TABLES: Final[dict[str, tuple[dict[str, Parser], tuple[str, ...]]]] = {
    "dtls": (_DTLS, ("psk", "client-identity")),
    "dtls-rpk": (_RPK, ("private-key", "peer-keys")),
    "dtls-x509": (_X509, ()),
    "oscore": (_OSCORE, ("secret", "sender-id", "recipient-id")),
    "group-oscore": (_GROUP_OSCORE, ("secret", "group-id", "sender-id")),
    "edhoc-oscore": (EDHOC_MEMBERS, EDHOC_REQUIRED),
    "tlscert": (_TLSCERT, ("certfile",)),
}
"""The members of each kind with their parsers, and those that have to be there."""

KINDS: Final[dict[str, Callable[[Reading, Any, Place, Common], Credential | None]]] = {
    "dtls": _dtls,
    "dtls-rpk": _rpk,
    "dtls-x509": _x509,
    "oscore": _oscore,
    "group-oscore": _group_oscore,
    "edhoc-oscore": parse_edhoc,
    "tlscert": _tlscert,
}
"""Every kind that has key material, and its parser."""
