"""A server's file with a peer of every kind, each once right, once another one and once expired; and how they come in.

What a peer presents goes to the look-ups that the transports ask; what comes back becomes an address as theirs are.
"""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from securecoap.config import Limits, TransportParameters
from securecoap.core.serving import Server
from securecoap.credentials.authority import Authority
from securecoap.credentials.making import key_pair
from securecoap.dtls.identities import CertificateType, Proof
from securecoap.interfaces import EndpointAddress
from securecoap.keyring import Keyring
from securecoap.oscore.address import OscoreAddress
from securecoap.oscore.context import SecurityContext
from securecoap.resources import Resource
from securecoap.transports.dtls_credentials import ServerStore
from securecoap.wire.codes import Code, dotted
from securecoap.wire.message import Message
from securecoap.wire.options import Options
from tests.credentials import material
from tests.credentials.material import EDHOC_KEY, EDHOC_OWN

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "ARRIVALS",
    "BOUND",
    "CLAIMS",
    "DEVICES",
    "HOST",
    "METHODS",
    "PORTS",
    "STRANGERS",
    "Address",
    "Arrival",
    "Bench",
    "psk",
]

HOST: Final = "gw.example"
BOUND: Final = "127.0.0.1"
PORTS: Final = {"coap": 5683, "coaps": 5684}
METHODS: Final = {"GET": 1, "POST": 2, "PUT": 3, "DELETE": 4, "FETCH": 5, "PATCH": 6, "iPATCH": 7}
STRANGERS: Final = frozenset((":anyone",))

psk: Any = material.psk
oscore: Any = material.oscore
_ENDED: Final = {"not-after": "2001-01-01T00:00:00Z"}
_AUTHORITY: Final = Authority.create("fleet", time.time())
_SERVER_KEY, _ = key_pair()
_PUBLIC: Final = [key_pair()[1] for _ in range(3)]


def _x509(name: str, **beside: Any) -> dict[str, Any]:
    return {"dtls-x509": {"ca": [{"ascii": _AUTHORITY.certificate_pem}], "peer-names": [name]}, **beside}


def _ccs(kid: str) -> dict[str, Any]:
    peer: Any = material.EDHOC_PEER
    key = {**peer["14"]["8"]["1"], "2": {"hex": kid}}
    return {"14": {"2": f"device {kid}", "8": {"1": key}}}


def _edhoc(peer: dict[str, Any], **beside: Any) -> dict[str, Any]:
    own = {"suite": 2, "method": 3, "own-cred": EDHOC_OWN, "own-cred-style": "by-key-id", "private-key": EDHOC_KEY}
    return {"edhoc-oscore": {**own, "peer-cred": peer}, **beside}


DEVICES: Final[dict[str, Any]] = {
    ":psk": psk("psk", claims=["reader"]),
    ":psk2": psk("psk2", claims=["reader"]),
    ":psk-old": psk("psk-old", **_ENDED),
    ":role": ":psk",
    ":rpks": {"dtls-rpk": {"private-key": _SERVER_KEY, "peer-keys": {":rpk": _PUBLIC[0], ":rpk2": _PUBLIC[1]}},
              "claims": ["raw"]},
    ":rpks-old": {"dtls-rpk": {"private-key": _SERVER_KEY, "peer-keys": {":rpk-old": _PUBLIC[2]}}, **_ENDED},
    ":x509": _x509("one.example", claims=["certified"]),
    ":x509-2": _x509("two.example"),
    ":x509-old": _x509("old.example", **_ENDED),
    ":oscore": oscore("01", "12", beside={"claims": ["writer"]}),
    ":oscore2": oscore("01", "13", secret="13" * 16),
    ":oscore-old": oscore("01", "14", secret="14" * 16, beside=_ENDED),
    ":edhoc": _edhoc(_ccs("21"), claims=["agreed"]),
    ":edhoc2": _edhoc(_ccs("22")),
    ":edhoc-old": _edhoc(_ccs("23"), **_ENDED),
    ":anyone": _edhoc({"unauthenticated": True}),
    ":both": {"any-of": [":psk", ":oscore"]},
}  # fmt: skip

CLAIMS: Final[dict[str, tuple[str, ...]]] = {
    ":psk": (":role", ":psk", "reader"), ":psk2": (":psk2", "reader"), ":rpk": (":rpks", ":rpk", "raw"),
    ":rpk2": (":rpks", ":rpk2", "raw"), ":x509": (":x509", "certified", "san:one.example"),
    ":x509-2": (":x509-2", "san:two.example"), ":oscore": (":oscore", "writer"), ":oscore2": (":oscore2",),
    ":edhoc": (":edhoc", "agreed"), ":edhoc2": (":edhoc2",), ":anyone": (":anyone",),
}  # fmt: skip
"""What the design says that each peer has proved: labels, outermost first, claims, certified names."""

_KIDS: Final = {":oscore": b"\x12", ":oscore2": b"\x13", ":oscore-old": b"\x14"}
_AGREED: Final = {":edhoc": b"\x21", ":edhoc2": b"\x22", ":edhoc-old": b"\x23"}
_RAW: Final = {":rpk": 0, ":rpk2": 1, ":rpk-old": 2}
_NAMES: Final = {":x509": "one.example", ":x509-2": "two.example", ":x509-old": "old.example"}
_CHAINS: Final = {
    label: (
        x509.load_pem_x509_certificate(_AUTHORITY.issue([name], time.time(), 10)[0].encode()).public_bytes(
            Encoding.DER
        ),
    )
    for label, name in _NAMES.items()
}


@dataclass(frozen=True)
class Arrival:
    """One way for a request to come in: a scheme, and who shows what in each layer."""

    scheme: str
    dtls: str = ""
    inner: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}{self.dtls}{self.inner}"

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(label for label in (self.inner, self.dtls) if label)


_SESSIONS: Final = (":psk", ":psk2", ":psk-old", ":rpk", ":rpk2", ":rpk-old", ":x509", ":x509-2", ":x509-old")
_CONTEXTS: Final = (*_KIDS, *_AGREED, ":anyone")
_NESTED: Final = (":oscore", ":oscore2", ":oscore-old", ":edhoc", ":anyone")
ARRIVALS: Final = (
    Arrival("coap"),
    *(Arrival("coap", "", label) for label in _CONTEXTS),
    *(Arrival("coaps", label) for label in _SESSIONS),
    *(Arrival("coaps", outer, label) for outer in (":psk", ":x509", ":psk-old") for label in _NESTED),
)


class Address(EndpointAddress):
    """As those of the transports: a scheme, what was proved, and where it came in."""

    __slots__ = ("authenticated_claims", "confirmed", "grants", "local_host", "local_port", "scheme", "security")

    def __init__(self, scheme: str, claims: tuple[str, ...], local_host: str = BOUND) -> None:
        self.scheme = scheme
        self.security = "dtls" if scheme == "coaps" else "none"
        self.authenticated_claims = claims
        self.confirmed = bool(claims)
        self.grants = None
        self.local_host = local_host
        self.local_port = PORTS[scheme]

    @property
    def hostinfo(self) -> str:
        return "peer.example"


class Incoming:
    """A request on its way, and what it is answered."""

    is_confirmable = was_answered = False

    def __init__(self, request: Message) -> None:
        self.request = request
        self.answer: Message | None = None

    def add_response(self, response: Message) -> None:
        self.answer = response


class Everything(Resource):
    """Stands at every path, and knows who came."""

    def __init__(self) -> None:
        self.seen: list[Message] = []

    def render(self, request: Message) -> Message:  # type: ignore[override]  # it does not wait
        self.seen.append(request)
        return Message(Code.CONTENT, b"in")

    dispatch = render


class Bench:
    """A server's keyring and its `Server`, in front of a resource for every path."""

    def __init__(self, patterns: dict[str, Any], directory: Path, names: tuple[str, ...] = (HOST,)) -> None:
        self.file = {**DEVICES, **patterns}
        # What has ended satisfies nothing; the oracle knows no time.
        self.now = {name: {**one, "unprotected": False} if _is_ended(one) else one for name, one in self.file.items()}
        self.ring = Keyring(
            self.file, state=directory, strict_state=False, names=names, bound=(BOUND,), limits=Limits(), wait=1.0,
            parameters=TransportParameters(),
        )  # fmt: skip
        assert self.ring.access is not None
        self.resource = Everything()
        loop: Any = None  # nothing here waits
        self.store = ServerStore(loop, self.ring.find_psk, self.ring.find_dtls_peers, lambda: None)
        self.server = Server(
            self.resource, asyncio.get_running_loop(), _NoChance(), None,  # type: ignore[arg-type]  # no Echo is asked for
            authorize=self.ring.access.authorize, is_own_name=self.ring.access.is_own_name,
        )  # fmt: skip
        self._addresses = {one: self._address(one) for one in ARRIVALS}

    def address(self, arrival: Arrival) -> EndpointAddress | None:
        """Where requests of this peer come from; ``None`` if it gets neither session nor context."""
        return self._addresses[arrival]

    def _address(self, arrival: Arrival) -> EndpointAddress | None:
        claims = self.session_claims(arrival.dtls) if arrival.dtls else ()
        if claims is None:
            return None
        outer = Address(arrival.scheme, claims)
        if not arrival.inner:
            return outer
        agreed = self.context_claims(arrival.inner)
        if agreed is None:
            return None
        context = SecurityContext.derive(bytes(16), b"", b"\x01", b"\x02")
        context.claims = agreed
        return OscoreAddress(context, outer, proved=True)

    def session_claims(self, label: str) -> tuple[str, ...] | None:
        if label in _RAW:
            der = base64.b64decode(_PUBLIC[_RAW[label]]["base64"])
            verdict = self.store.judge(CertificateType.RAW_PUBLIC_KEY, (der,))
        elif label in _CHAINS:
            verdict = self.store.judge(CertificateType.X509, _CHAINS[label])
        else:
            found = self.store.look_up(label.removeprefix(":").encode())
            return None if found is None else found.claims  # type: ignore[union-attr]  # nothing is pending here
        return verdict.claims if isinstance(verdict, Proof) else None

    def context_claims(self, label: str) -> tuple[str, ...] | None:
        assert self.ring.credentials is not None
        now = time.time()
        if label in _KIDS:
            contexts = self.ring.credentials.find_oscore(_KIDS[label], None, now)
            return contexts[0].claims if contexts else None
        edhoc = self.ring.credentials.edhoc
        one = edhoc.anyone(now) if label == ":anyone" else edhoc.by_kid(_AGREED[label], now)
        return None if one is None else one.claims

    def ask(self, remote: EndpointAddress, path: list[str], method: str, *more: tuple[int, bytes]) -> str:
        """The decision on a request: what reached the resource, or the code of the refusal."""
        pairs = [(11, segment.encode()) for segment in path]
        request = Message.inner(METHODS[method], Options([*pairs, *more]), b"", remote, b"t")
        incoming: Any = Incoming(request)
        self.resource.seen.clear()
        self.server.handle(incoming)
        assert incoming.answer is not None
        assert bool(self.resource.seen) == (incoming.answer.code == Code.CONTENT)
        return "allowed" if self.resource.seen else dotted(incoming.answer.code)


def _is_ended(one: Any) -> bool:
    return isinstance(one, dict) and "unprotected" in one and "not-after" in one


class _NoChance:
    def randbytes(self, n: int, /) -> bytes:
        return bytes(n)

    def uniform(self, a: float, b: float, /) -> float:
        return a
