"""A CoAP peer over dtlssocket (tinydtls) alone, for the interop tests. Run by aiocoap's own environment.

    tinydtls_peer.py serve PORT IDENTITY KEY                            prints "ready PORT" when it listens
    tinydtls_peer.py get PORT IDENTITY KEY LOCAL-PORT SECONDS PATH…     asks the server on 127.0.0.1:PORT

The server has /hello and /whoami (the identity whose key was used) and says what it saw. The client prints CODE PAYLOAD
for each answer, or "no answer"; it ends without close_notify, as a device that loses its power. Each peer has a DTLS
context of its own: two in one context crash tinydtls. CoAP is written here by hand, so that nothing is shared with the
stack under test.
"""

import json
import socket
import sys
import time

from DTLSSocket import dtls

CONNECTED = 0x01DE
GET, CONTENT, NOT_FOUND = 0x01, 0x45, 0x84
CONTENT_FORMAT, URI_PATH = 12, 11
SENTINEL = ("::1", 1)  # tinydtls wants an address; where datagrams really go is known here


class Keys(dict):
    """The keys by identity; remembers which was asked for."""

    used = None

    def __getitem__(self, identity):
        self.used = identity
        return super().__getitem__(identity)


class Connection:
    """One peer: its DTLS context, and what came out of it."""

    def __init__(self, sock, address, identity, key):
        self.keys = Keys({identity: key})
        self.received = []
        self.connected = False
        self.alerts = []
        self._sock, self._address = sock, address
        self.context = dtls.DTLS(
            read=self._read, write=self._write, event=self._event, pskId=identity, pskStore=self.keys
        )
        self.session = dtls.Session(*SENTINEL)

    def _read(self, _, data):
        self.received.append(bytes(data))
        return len(data)

    def _write(self, _, data):
        try:
            self._sock.sendto(data, self._address)
        except OSError:
            return -1
        return len(data)

    def _event(self, level, code):
        if level == 0:
            self.connected = self.connected or code == CONNECTED
        else:
            self.alerts.append((level, code))

    def handle(self, datagram):
        self.context.handleMessage(self.session, bytes(bytearray(datagram)))  # a copy: it decrypts in place

    def send(self, message):
        self.context.write(self.session, message)


def parse(message):
    """Type, code, message ID, token, path, payload of a CoAP message (RFC 7252 section 3)."""
    length, code = message[0] & 0x0F, message[1]
    token, position, number, path = message[4 : 4 + length], 4 + length, 0, []

    def extended(nibble, position):
        if nibble == 13:
            return message[position] + 13, position + 1
        if nibble == 14:
            return int.from_bytes(message[position : position + 2], "big") + 269, position + 2
        return nibble, position

    while position < len(message) and message[position] != 0xFF:
        first = message[position]
        delta, position = extended(first >> 4, position + 1)
        size, position = extended(first & 0x0F, position)
        number += delta
        if number == URI_PATH:
            path.append(message[position : position + size].decode())
        position += size
    return message[0] >> 4 & 3, code, message[2:4], token, "/" + "/".join(path), message[position + 1 :]


def serve(sock, identity, key):
    connections = {}
    sock.settimeout(None)
    print("ready", sock.getsockname()[1], flush=True)
    while True:
        datagram, address = sock.recvfrom(2048)
        if address not in connections:
            connections[address] = Connection(sock, address, identity, key)
        peer = connections[address]
        peer.handle(datagram)
        while peer.received:
            kind, code, mid, token, path, _ = parse(peer.received.pop(0))
            if kind != 0 or code != GET:
                continue
            print("GET", path, flush=True)
            used = peer.keys.used.decode() if peer.keys.used else None
            body = {"/hello": b"hello", "/whoami": json.dumps({"identity": used}).encode()}.get(path)
            head = bytes([0x60 | len(token), NOT_FOUND if body is None else CONTENT]) + mid + token
            options = b"\xc0" if path == "/hello" else b"\xc1\x32"  # text, JSON
            peer.send(head if body is None else head + options + b"\xff" + body)


def wait(sock, connection, condition, end):
    """Handle datagrams until the condition holds; whether it did in time."""
    while not condition():
        left = end - time.monotonic()
        if left <= 0:
            return False
        sock.settimeout(min(left, 0.5))
        try:
            connection.handle(sock.recvfrom(2048)[0])
        except TimeoutError:
            connection.context.checkRetransmit()
        except ConnectionError:
            continue
    return True


def get(sock, address, identity, key, seconds, paths):
    connection = Connection(sock, address, identity, key)
    end = time.monotonic() + seconds
    connection.session = connection.context.connect(*SENTINEL)
    if not wait(sock, connection, lambda: connection.connected or connection.alerts, end) or connection.alerts:
        print("no answer", connection.alerts, flush=True)
        return
    for number, path in enumerate(paths, 1):
        segment = path.lstrip("/").encode()
        message = bytes([0x41, GET, 0, number, number, 0xB0 | len(segment)]) + segment
        connection.send(message)
        if not wait(sock, connection, lambda: connection.received, end):
            print("no answer", connection.alerts, flush=True)
            return
        _, code, mid, token, _, payload = parse(connection.received.pop(0))
        assert (mid, token) == (bytes([0, number]), bytes([number]))
        print(f"{code >> 5}.{code & 31:02} {payload.decode()}", flush=True)


def main():
    command, port, identity, key, *rest = sys.argv[1:]
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if command == "serve":
        sock.bind(("127.0.0.1", int(port)))
        serve(sock, identity.encode(), key.encode())
    else:
        sock.bind(("127.0.0.1", int(rest[0])))
        get(sock, ("127.0.0.1", int(port)), identity.encode(), key.encode(), float(rest[1]), rest[2:])


main()
