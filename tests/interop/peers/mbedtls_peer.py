"""mbedTLS (python-mbedtls) as a DTLS peer: an echo server and a client, with a pre-shared key or certificates.

Runs in its own environment (.peers/mbedtls).

    mbedtls_peer.py client PORT CIPHER psk IDENTITY KEY
    mbedtls_peer.py client PORT CIPHER x509 CA CERTIFICATE KEYFILE
    mbedtls_peer.py serve  PORT CIPHER ...                        (the same)
"""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from pathlib import Path

from mbedtls import pk, tls, x509


def configuration(cipher: str, kind: str, arguments: list[str], *, serves: bool) -> tls.DTLSConfiguration:
    common = {
        "ciphers": [cipher],
        "lowest_supported_version": tls.DTLSVersion.DTLSv1_2,
        "handshake_timeout_min": 1.0,
        "handshake_timeout_max": 8.0,
        "validate_certificates": kind == "x509",
    }
    if kind == "psk":
        identity, key = arguments[0], arguments[1].encode()
        secret = {"pre_shared_key_store": {identity: key}} if serves else {"pre_shared_key": (identity, key)}
        return tls.DTLSConfiguration(**common, **secret)
    authority, certificate, key_file = arguments
    store = tls.TrustStore()
    store.add(x509.CRT.from_PEM(Path(authority).read_text()))
    chain = ((x509.CRT.from_PEM(Path(certificate).read_text()),), pk.ECC.from_PEM(Path(key_file).read_text()))
    return tls.DTLSConfiguration(**common, trust_store=store, certificate_chain=chain)


def client(port: int, conf: tls.DTLSConfiguration) -> None:
    raw = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    raw.settimeout(15)
    wrapped = tls.ClientContext(conf).wrap_socket(raw, server_hostname="localhost")
    wrapped.connect(("127.0.0.1", port))
    wrapped.do_handshake()
    print("suite", wrapped.cipher(), flush=True)
    wrapped.send(b"from them to us\n")
    print("got", wrapped.recv(4096), flush=True)
    wrapped.close()


def serve(port: int, conf: tls.DTLSConfiguration) -> None:
    listening = tls.ServerContext(conf).wrap_socket(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    print("ready", flush=True)
    connection, address = listening.accept()
    connection.setcookieparam(address[0].encode("ascii"))
    with suppress(tls.HelloVerifyRequest):
        connection.do_handshake()
    _, (connection, address) = connection, connection.accept()
    connection.setcookieparam(address[0].encode("ascii"))
    connection.do_handshake()
    print("suite", connection.cipher(), flush=True)
    connection.send(connection.recv(4096))


def main() -> None:
    what, port, cipher, kind, *arguments = sys.argv[1:]
    conf = configuration(cipher, kind, arguments, serves=what == "serve")
    (serve if what == "serve" else client)(int(port), conf)


if __name__ == "__main__":
    main()
