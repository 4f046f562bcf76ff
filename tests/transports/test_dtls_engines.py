"""Which engine can be had, and which credentials with it: said when they are read."""

from __future__ import annotations

import pytest

from securecoap import Context, Site
from securecoap.credentials import CredentialsMap
from securecoap.errors import ConfigurationError, CredentialsFault
from securecoap.transports.dtls_engines import require_engine


def psk(identity: bytes, key: bytes, **more: object) -> dict[str, object]:
    return {"dtls": {"client-identity": identity, "psk": key, **more}}


def test_each_credential_that_tinydtls_cannot_have_is_named_with_its_reason():
    pytest.importorskip("DTLSSocket")
    known = CredentialsMap.from_dict(
        {
            ":good": psk(b"sensor-1", bytes(16)),
            ":long-key": psk(b"sensor-2", bytes(17)),
            ":long-name": psk(b"s" * 33, bytes(16)),
            ":nul": psk(b"sensor\0", bytes(16)),
            ":hint": psk(b"sensor-5", bytes(16), **{"identity-hint": b"gateway"}),
        }
    )
    with pytest.raises(CredentialsFault) as caught:
        require_engine("tinydtls", known)
    faults = "\n".join(caught.value.faults)
    for label, reason in {":long-key": "17 bytes", ":long-name": "33 bytes", ":nul": "NUL", ":hint": "hint"}.items():
        assert any(label in fault and reason in fault for fault in caught.value.faults), faults
    assert ":good" not in faults
    assert len(caught.value.faults) == 4
    require_engine("python", known)


def test_it_is_refused_when_the_context_is_made():
    pytest.importorskip("DTLSSocket")
    with pytest.raises(CredentialsFault, match="17 bytes"):
        Context.client({"coaps://*": psk(b"sensor-1", bytes(17))}, engine="tinydtls")
    with pytest.raises(CredentialsFault, match="17 bytes"):
        Context.server(Site(), ["coaps://[::1]:0"], {":a": psk(b"sensor-1", bytes(17))}, engine="tinydtls")
    with pytest.raises(ConfigurationError, match="key log"):
        Context.client({"coaps://*": psk(b"sensor-1", bytes(16))}, engine="tinydtls", keylog="keys.log")
    with pytest.raises(ConfigurationError, match="no DTLS engine 'openssl'"):
        Context.client(engine="openssl")
    Context.client({"coaps://*": psk(b"sensor-1", bytes(16))}, engine="tinydtls")


def test_without_dtlssocket_the_reason_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "DTLSSocket", None)
    with pytest.raises(ConfigurationError, match=r"securecoap\[tinydtls\]"):
        Context.client(engine="tinydtls")
