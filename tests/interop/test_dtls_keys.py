"""Raw public keys and certificates against OpenSSL, GnuTLS and libcoap, both ways (RFC 7252 section 9.1.3.2 and 9.1.3.3).

With OpenSSL and GnuTLS the handshakes alone, in each suite, group and kind of key; with libcoap whole requests through
our command line. The suite is taken from what the peer prints, or from what Wireshark reads on the wire.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509 import load_der_x509_certificate
from support.processes import Program, free_ports

from securecoap.dtls.certificates import CLIENT, SERVER
from securecoap.dtls.groups import GROUPS
from securecoap.dtls.identities import CertificateType, KeyCredential
from securecoap.dtls.parameters import DtlsParameters
from securecoap.dtls.suites import SUITES
from tests.dtls.material import (
    NOW,
    Authority,
    Keys,
    certificate_own,
    judge_chain,
    judge_raw,
    private_key,
    raw_own,
    spki,
)
from tests.interop.harness import IDENTITY, PSK, SERVER_CREDENTIALS, Ours, program, run
from tests.interop.relay import Relay
from tests.interop.socket_peer import SocketPeer, installed, typed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.interop

SUITE_NAMES = {
    0xC0AE: "ECDHE-ECDSA-AES128-CCM8",
    0xC0AC: "ECDHE-ECDSA-AES128-CCM",
    0xC02B: "ECDHE-ECDSA-AES128-GCM-SHA256",
    0xC02C: "ECDHE-ECDSA-AES256-GCM-SHA384",
    0xC0AD: "ECDHE-ECDSA-AES256-CCM",
    0xC0AF: "ECDHE-ECDSA-AES256-CCM8",
}
GROUP_NAMES = {23: "prime256v1", 29: "X25519", 24: "secp384r1"}
CURVES = {"p256": 23, "p384": 24}
GNUTLS = "NONE:+VERS-DTLS1.2:+ECDHE-ECDSA:+SIGN-ALL:+COMP-NULL:+AEAD:+AES-128-CCM-8:+AES-128-GCM:+GROUP-ALL"
RAW = GNUTLS + ":-CTYPE-ALL:+CTYPE-SRV-RAWPK:+CTYPE-CLI-RAWPK"


class Files:
    """Keys and certificates of an authority and of both ends, as files; valid now."""

    def __init__(self, directory: Path, kind: str = "p256", authority_kind: str = "p256") -> None:
        days = (int((time.time() - NOW.timestamp()) / 86400) - 1, int((time.time() - NOW.timestamp()) / 86400) + 30)
        self.directory = directory
        self.authority = Authority(f"authority {authority_kind}", authority_kind, days)
        self.keys = {name: private_key(kind, name) for name in ("gateway", "device")}
        self.certificates = {
            "gateway": self.authority.issue(self.keys["gateway"], "localhost", "127.0.0.1", days=days),
            "device": self.authority.issue(self.keys["device"], "sensor-19.example", days=days),
        }
        self.ca = self._write("ca.pem", load_der_x509_certificate(self.authority.root).public_bytes(Encoding.PEM))

    def _write(self, name: str, content: bytes) -> str:
        path = self.directory / name
        path.write_bytes(content)
        return str(path)

    def key(self, name: str) -> str:
        pem = self.keys[name].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self._write(f"{name}.key", pem)

    def public(self, name: str) -> str:
        public = self.keys[name].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return self._write(f"{name}.pub", public)

    def certificate(self, name: str) -> str:
        certificate = load_der_x509_certificate(self.certificates[name])
        return self._write(f"{name}.crt", certificate.public_bytes(Encoding.PEM))

    def both(self, name: str) -> str:
        """Public and private key in one file, as libcoap wants a raw public key."""
        sec1 = self.keys[name].private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        public = self.keys[name].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return self._write(f"{name}.both", public + sec1)

    # What our engine is given.

    def certificate_client(self) -> KeyCredential:
        own = certificate_own(self.keys["device"], self.certificates["device"])
        judge = judge_chain(self.authority, SERVER, "localhost", time.time)
        return KeyCredential(CertificateType.X509, own, judge, "localhost")

    def certificate_server(self) -> Keys:
        own = certificate_own(self.keys["gateway"], self.certificates["gateway"])
        return Keys([own], certified=judge_chain(self.authority, CLIENT, None, time.time))

    def raw_client(self) -> KeyCredential:
        judge = judge_raw({spki(self.keys["gateway"]): ":gateway"})
        return KeyCredential(CertificateType.RAW_PUBLIC_KEY, raw_own(self.keys["device"]), judge)

    def raw_server(self) -> Keys:
        return Keys([raw_own(self.keys["gateway"])], raw=judge_raw({spki(self.keys["device"]): ":device"}))

    # What a JSON file says.

    def x509_entry(self, name: str) -> dict[str, Any]:
        return {"dtls-x509": {
            "certificate": {"file": self.certificate(name)}, "private-key": {"file": self.key(name)}, "ca": [{"file": self.ca}],
        }}  # fmt: skip

    def rpk_entry(self, name: str, peer: str) -> dict[str, Any]:
        return {
            "dtls-rpk": {
                "private-key": {"file": self.key(name)},
                "peer-keys": {f":{peer}": {"file": self.public(peer)}},
            }
        }


def parameters(**options: Any) -> DtlsParameters:
    return DtlsParameters(**options)


def curves(group: int, kind: str) -> str:
    return ":".join(dict.fromkeys((GROUP_NAMES[group], GROUP_NAMES[CURVES[kind]])))


# OpenSSL: every suite and group.


def openssl_server(start: Callable[..., Program], files: Files, *arguments: str) -> tuple[Program, int]:
    port = free_ports()
    server = start(
        *(installed("openssl"), "s_server", "-dtls1_2", "-accept", f"127.0.0.1:{port}", "-Verify", "2"),
        *("-CAfile", files.ca, "-cert", files.certificate("gateway"), "-key", files.key("gateway"), *arguments),
    )
    server.wait_until_bound(port)
    return server, port


def exchange(ours: SocketPeer, server: Program, port: int, credential: KeyCredential) -> None:
    session = ours.connect(port, credential)
    ours.send(session, b"from us to them\n")
    server.wait_for("from us to them")
    typed(server, b"from them to us\n")
    ours.run_until(lambda: ours.data)
    assert ours.data == [b"from them to us\n"]


@pytest.mark.parametrize("code", SUITE_NAMES)
def test_our_client_and_openssl_server_in_each_suite(start, peer, tmp_path, code):
    files = Files(tmp_path)
    server, port = openssl_server(start, files, "-cipher", f"{SUITE_NAMES[code]}:@SECLEVEL=0")
    ours = peer(parameters=parameters(suites=(SUITES[code],)))
    exchange(ours, server, port, files.certificate_client())
    assert ours.established[0].claims == ("san:localhost", "san:127.0.0.1")
    server.wait_for(rf"CIPHER is {SUITE_NAMES[code]}")
    assert "subject=CN = peer" in server.output  # our certificate


@pytest.mark.parametrize("group", GROUP_NAMES)
@pytest.mark.parametrize(("kind", "authority"), [("p256", "p256"), ("p384", "p384"), ("p256", "rsa")])
def test_our_client_and_openssl_server_in_each_group(start, peer, tmp_path, group, kind, authority):
    files = Files(tmp_path, kind, authority)
    server, port = openssl_server(start, files, "-curves", curves(group, kind))
    groups = dict.fromkeys((GROUPS[group], GROUPS[CURVES[kind]]))  # that of the certificate has to be there, too
    with Relay(port) as relay:
        exchange(peer(parameters=parameters(groups=tuple(groups))), server, relay.port, files.certificate_client())
        fields = ("-T", "fields", "-e", "dtls.handshake.server_named_curve", "-e", "tls.handshake.server_named_curve")
        found = "".join(relay.dissect(tmp_path, "-d", f"udp.port=={relay.port},dtls", *fields))
    assert int(found.strip(), 16) == group


def openssl_client(start: Callable[..., Program], port: int, files: Files, *arguments: str) -> Program:
    return start(
        *(installed("openssl"), "s_client", "-dtls1_2", "-connect", f"127.0.0.1:{port}", "-CAfile", files.ca),
        *("-cert", files.certificate("device"), "-key", files.key("device"), "-verify_return_error", *arguments),
    )


def answer(ours: SocketPeer, client: Program) -> None:
    ours.run_until(lambda: ours.established or ours.failed)
    assert not ours.failed, ours.failed
    typed(client, b"from them to us\n")
    ours.run_until(lambda: ours.data)
    assert ours.data == [b"from them to us\n"]
    ours.send(ours.established[0], b"from us to them\n")
    client.wait_for("from us to them")


@pytest.mark.parametrize("code", SUITE_NAMES)
def test_our_server_and_openssl_client_in_each_suite(start, peer, tmp_path, code):
    files = Files(tmp_path)
    ours = peer(keys=files.certificate_server())
    client = openssl_client(start, ours.port, files, "-cipher", f"{SUITE_NAMES[code]}:@SECLEVEL=0")
    answer(ours, client)
    assert ours.established[0].claims == ("san:sensor-19.example",)
    client.wait_for(rf"Cipher is {SUITE_NAMES[code]}")
    client.wait_for("Verify return code: 0")
    client.wait_for("Extended master secret: yes")


@pytest.mark.parametrize("group", GROUP_NAMES)
@pytest.mark.parametrize(("kind", "authority"), [("p256", "p256"), ("p384", "p384"), ("p256", "rsa")])
def test_our_server_and_openssl_client_in_each_group(start, peer, tmp_path, group, kind, authority):
    files = Files(tmp_path, kind, authority)
    ours = peer(keys=files.certificate_server(), parameters=parameters(groups=(GROUPS[group],)))
    client = openssl_client(start, ours.port, files, "-curves", curves(group, kind), "-mtu", "400")
    answer(ours, client)
    names = {23: r"ECDH, prime256v1|ECDH, P-256", 29: "X25519", 24: r"ECDH, secp384r1|ECDH, P-384"}
    client.wait_for(f"Server Temp Key: ({names[group]})")


def test_an_rsa_certificate_authenticates_an_openssl_client(start, peer, tmp_path):
    files = Files(tmp_path)
    files.keys["device"] = private_key("rsa", "device")
    files.certificates["device"] = files.authority.issue(files.keys["device"], "rsa.example", days=files.authority.days)
    ours = peer(keys=files.certificate_server())
    answer(ours, openssl_client(start, ours.port, files))
    assert ours.established[0].claims == ("san:rsa.example",)


def test_our_rsa_certificate_is_taken_by_an_openssl_server(start, peer, tmp_path):
    files = Files(tmp_path)
    files.keys["device"] = private_key("rsa", "device")
    files.certificates["device"] = files.authority.issue(files.keys["device"], "rsa.example", days=files.authority.days)
    server, port = openssl_server(start, files)
    exchange(peer(), server, port, files.certificate_client())


def test_openssl_says_why_it_refuses_our_certificate(start, peer, tmp_path):
    files = Files(tmp_path)
    _, port = openssl_server(start, files, "-verify_return_error")
    stranger = Authority("a stranger", "p256", files.authority.days)
    files.certificates["device"] = stranger.issue(files.keys["device"], "x.example", days=stranger.days)
    ours = peer()
    ours.endpoint.connect(("127.0.0.1", port), files.certificate_client(), time.monotonic())
    ours.run_until(lambda: ours.failed)
    assert ours.failed[0].alert == "unknown_ca"
    assert "does not trust the authority" in str(ours.failed[0])


def test_we_say_why_we_refuse_the_certificate_of_openssl(start, peer, tmp_path):
    files = Files(tmp_path)
    ours = peer(keys=files.certificate_server())
    stranger = Authority("a stranger", "p256", files.authority.days)
    files.certificates["device"] = stranger.issue(files.keys["device"], "x.example", days=stranger.days)
    client = openssl_client(start, ours.port, files)
    ours.run_until(lambda: ours.failed)
    assert ours.failed[0].alert == "unknown_ca"
    client.wait_for("alert unknown ca")


# GnuTLS: certificates and raw public keys.


def gnutls_server(start: Callable[..., Program], priority: str, *arguments: str) -> tuple[Program, int]:
    port = free_ports()
    server = start(*(installed("gnutls-serv"), "--udp", "--echo", "-p", str(port), "--priority", priority, *arguments))
    server.wait_until_bound(port)
    return server, port


def gnutls_client(start: Callable[..., Program], port: int, priority: str, *arguments: str) -> Program:
    return start(*(installed("gnutls-cli"), "--udp", "-p", str(port), "--priority", priority, *arguments, "127.0.0.1"))


def echoed(ours: SocketPeer, port: int, credential: KeyCredential) -> None:
    session = ours.connect(port, credential)
    ours.send(session, b"echo this\n")
    ours.run_until(lambda: ours.data)
    assert ours.data == [b"echo this\n"]


@pytest.mark.parametrize("kind", ["p256", "p384"])
def test_our_client_and_gnutls_server_with_certificates(start, peer, tmp_path, kind):
    files = Files(tmp_path, kind)
    _, port = gnutls_server(
        start, GNUTLS, "--require-client-cert", "--verify-client-cert", "--x509cafile", files.ca,
        "--x509certfile", files.certificate("gateway"), "--x509keyfile", files.key("gateway"),
    )  # fmt: skip
    with Relay(port) as relay:
        echoed(peer(), relay.port, files.certificate_client())
        assert_suite(relay, tmp_path, "0xc0ae")


@pytest.mark.parametrize("kind", ["p256", "p384"])
def test_our_server_and_gnutls_client_with_certificates(start, peer, tmp_path, kind):
    files = Files(tmp_path, kind)
    ours = peer(keys=files.certificate_server())
    client = gnutls_client(
        start, ours.port, GNUTLS, "--x509cafile", files.ca, "--verify-hostname", "localhost",
        "--x509certfile", files.certificate("device"), "--x509keyfile", files.key("device"),
    )  # fmt: skip
    answer(ours, client)
    assert ours.established[0].claims == ("san:sensor-19.example",)
    assert "The certificate is trusted" in client.output
    assert re.search(r"\(ECDHE-[^)]*\)-\(ECDSA[^)]*\)-\(AES-128-(CCM-8|GCM)\)", client.output)


@pytest.mark.parametrize("kind", ["p256", "p384", "ed25519"])
def test_our_client_and_gnutls_server_with_raw_public_keys(start, peer, tmp_path, kind):
    files = raw_files(tmp_path, kind)
    own = ("--rawpkkeyfile", files.key("gateway"), "--rawpkfile", files.public("gateway"))
    _, port = gnutls_server(start, RAW, "--require-client-cert", *own)
    ours = peer()
    with Relay(port) as relay:
        echoed(ours, relay.port, files.raw_client())
        assert_suite(relay, tmp_path, "0xc0ae")
    assert ours.established[0].claims == (":gateway",)


@pytest.mark.parametrize("kind", ["p256", "p384", "ed25519"])
def test_our_server_and_gnutls_client_with_raw_public_keys(start, peer, tmp_path, kind):
    files = raw_files(tmp_path, kind)
    ours = peer(keys=files.raw_server())
    client = gnutls_client(
        start,
        ours.port,
        RAW,
        "--insecure",
        "--rawpkkeyfile",
        files.key("device"),
        "--rawpkfile",
        files.public("device"),
    )
    answer(ours, client)
    assert ours.established[0].claims == (":device",)
    assert "Raw Public Key" in client.output


def raw_files(directory: Path, kind: str) -> Files:
    files = Files(directory)
    files.keys = {name: private_key(kind, name) for name in files.keys}
    return files


# libcoap: requests, through our command line.


@pytest.mark.parametrize("build", ["openssl", "gnutls"])
def test_our_client_and_a_libcoap_server_with_certificates(
    ours: Ours, libcoap_server: Any, tmp_path: Path, build: str
) -> None:
    files = Files(tmp_path)
    _, port = libcoap_server(
        build, "-c", files.certificate("gateway"), "-j", files.key("gateway"), "-C", files.ca, "-n"
    )
    with Relay(port + 1) as relay:
        base = f"coaps://localhost:{relay.port}"
        answer = ours.run("get", f"{base}/", credentials={"coaps://*/*": files.x509_entry("device")})
        assert b"libcoap" in answer.stdout, answer.stderr
        assert_suite(relay, tmp_path, "0xc0ae")


@pytest.mark.parametrize("build", ["openssl", "gnutls"])
def test_a_libcoap_client_and_our_server_with_certificates(ours: Ours, tmp_path: Path, build: str) -> None:
    files = Files(tmp_path)
    _, ports = ours.serve("coaps", credentials={":fleet": files.x509_entry("gateway")})
    with Relay(ports["coaps"]) as relay:
        printed = run(
            program(f"coap-client-{build}"), "-c", files.certificate("device"), "-j", files.key("device"), "-C", files.ca,
            "-B", "20", f"coaps://localhost:{relay.port}/whoami",
        )  # fmt: skip
        assert claims_in(printed) == [":fleet", "san:sensor-19.example"]
        assert_suite(relay, tmp_path, "0xc0ae|0xc02b|0xc02c|0xc0af|0xc0ac|0xc0ad")


def test_our_client_and_a_libcoap_server_with_raw_public_keys(ours: Ours, libcoap_server: Any, tmp_path: Path) -> None:
    files = Files(tmp_path)
    _, port = libcoap_server("gnutls", "-M", files.both("gateway"))
    with Relay(port + 1) as relay:
        uri = f"coaps://127.0.0.1:{relay.port}/"
        answer = ours.run("get", uri, credentials={"coaps://*/*": files.rpk_entry("device", "gateway")})
        assert b"libcoap" in answer.stdout, answer.stderr
        assert_suite(relay, tmp_path, "0xc0ae")


def test_a_libcoap_client_and_our_server_with_raw_public_keys(ours: Ours, tmp_path: Path) -> None:
    files = Files(tmp_path)
    _, ports = ours.serve("coaps", credentials={":sensors": files.rpk_entry("gateway", "device")})
    with Relay(ports["coaps"]) as relay:
        printed = run(
            program("coap-client-gnutls"),
            "-M",
            files.both("device"),
            "-B",
            "20",
            f"coaps://127.0.0.1:{relay.port}/whoami",
        )
        assert claims_in(printed) == [":sensors", ":device"]
        assert_suite(relay, tmp_path, "0xc0ae|0xc02b|0xc02c|0xc0af|0xc0ac|0xc0ad")


def test_all_three_modes_on_one_port(ours: Ours, tmp_path: Path) -> None:
    """One port, one file; what the client offers decides."""
    files = Files(tmp_path)
    credentials = {
        **SERVER_CREDENTIALS,
        ":sensors": files.rpk_entry("gateway", "device"),
        ":fleet": files.x509_entry("gateway"),
    }
    _, ports = ours.serve("coaps", credentials=credentials)
    uri = f"coaps://localhost:{ports['coaps']}/whoami"
    psk = run(program("coap-client-openssl"), "-k", PSK, "-u", IDENTITY, "-B", "20", uri)
    raw = run(program("coap-client-gnutls"), "-M", files.both("device"), "-B", "20", uri)
    certificate = ("-c", files.certificate("device"), "-j", files.key("device"), "-C", files.ca)
    x509 = run(program("coap-client-openssl"), *certificate, "-B", "20", uri)
    assert [claims_in(printed) for printed in (psk, raw, x509)] == [
        [":sensor-17"], [":sensors", ":device"], [":fleet", "san:sensor-19.example"],
    ]  # fmt: skip


def claims_in(printed: str) -> Any:
    found = re.search(r"\{.*\}", printed)
    assert found is not None, printed
    return json.loads(found[0])["claims"]


def assert_suite(relay: Relay, directory: Path, codes: str) -> None:
    fields = (
        "-Y",
        "tls.handshake.type==2 || dtls.handshake.type==2",
        "-T",
        "fields",
        "-e",
        "dtls.handshake.ciphersuite",
    )
    found = relay.dissect(directory, "-d", f"udp.port=={relay.port},dtls", *fields)
    assert found, "there was no ServerHello"
    assert all(re.fullmatch(codes, one) for one in found), found
