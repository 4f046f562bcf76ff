"""Where a credential is meant and cannot be used, nothing leaves the machine: seen from the socket it would go to."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DTLS = {"dtls": {"client-identity": {"ascii": "me"}, "psk": {"ascii": "a key of 16 byte"}}}
OSCORE = {
    "oscore": {
        "secret": {"hex": "00112233445566778899aabbccddeeff"}, "salt": {"hex": "01"}, "sender-id": {"hex": "01"},
        "recipient-id": {"hex": "02"},
    }
}  # fmt: skip

GROUP = {"group-oscore": {"secret": {"hex": "00" * 16}, "group-id": {"hex": "01"}, "sender-id": {"hex": "01"}}}


def sample(name: str) -> dict[str, Any]:
    """The entry of a sample file, its paths made absolute."""
    text = (SAMPLES / f"sensor-{name}.json").read_text().replace('"keys/', f'"{SAMPLES}/keys/')
    return next(entry for key, entry in json.loads(text).items() if not key.startswith("$"))


def changed(name: str, kind: str, **members: Any) -> dict[str, Any]:
    """A sample with other members; those that are ``None`` are left out."""
    whole = {**sample(name)[kind], **members}
    return {kind: {member: value for member, value in whole.items() if value is not None}}


PAST = {"not-after": "2001-01-01T00:00:00Z"}
FUTURE = {"not-before": "2999-01-01T00:00:00Z"}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "DTLS keys for a plain scheme": ("coap", {"BASE/*": DTLS}),
    "by reference": ("coap", {"BASE/*": ":a", ":a": ":b", ":b": DTLS}),
    "OSCORE is not all that is asked for": ("coap", {"BASE/*": {"all-of": [OSCORE, DTLS]}}),
    "none of several": ("coap", {"BASE/*": {"any-of": [DTLS, sample("rpk")]}}),
    "expired": ("coap", {"BASE/*": OSCORE | PAST}),
    "not valid yet": ("coaps", {"BASE/*": DTLS | FUTURE}),
    "for another path of that authority": ("coap", {"BASE/elsewhere": OSCORE}),
    "for other methods": ("coap", {"BASE/*": OSCORE | {"methods": ["PUT"]}}),
    "nothing at all for coaps": ("coaps", {"coaps://elsewhere.example/*": DTLS}),
    "no file for coaps": ("coaps", {}),
    "raw public keys for a plain scheme": ("coap", {"BASE/*": sample("rpk")}),
    "certificates for a plain scheme": ("coap", {"BASE/*": sample("x509")}),
    "certificates that are not valid yet": ("coaps", {"BASE/*": sample("x509") | FUTURE}),
    "Group OSCORE, not usable yet": ("coap", {"BASE/*": GROUP}),
    "EDHOC with a suite that nobody has": ("coap", {"BASE/*": changed("edhoc", "edhoc-oscore", suite=3)}),
    "EDHOC with a server that may be anybody": (
        "coap",
        {"BASE/*": changed("edhoc", "edhoc-oscore", **{"peer-cred": None})},
    ),
}


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.setblocking(False)
        yield listening


@pytest.mark.parametrize("command", ["get", "observe"])
@pytest.mark.parametrize("case", CASES)
def test_nothing_is_sent(
    case: str, command: str, run: Any, write: Any, listener: socket.socket, tmp_path: Path
) -> None:
    scheme, entries = CASES[case]
    base = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
    credentials = write({key.replace("BASE", base): entry for key, entry in entries.items()})
    outcome = run(command, f"{base}/x", "--credentials", credentials, "--timeout", "5", "--state", tmp_path / "state")
    assert outcome[:2] == (2, b""), outcome.err
    assert outcome.err.strip()
    with pytest.raises(BlockingIOError):
        listener.recv(2048)


def test_the_listener_would_have_seen_it(run: Any, listener: socket.socket) -> None:
    uri = f"coap://127.0.0.1:{listener.getsockname()[1]}/x"
    assert run("get", uri, "--timeout", "0.2").status == 3
    assert listener.recv(2048)[1] == 1
