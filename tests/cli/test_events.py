"""Every documented event, from a real server: in its log as JSON, and in its metrics over HTTP."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from bench.oscore import OscoreClient, get

from securecoap import events
from securecoap.dtls.parameters import PskCredential
from securecoap.expiry import date_of
from securecoap.wire.codes import Code
from securecoap.wire.message import CON, Message, encode_message
from securecoap.wire.options import Options
from tests.cli.conftest import start_demo
from tests.cli.test_metrics import scrape
from tests.interop.socket_peer import SocketPeer
from tests.test_reload import oscore, psk

DAY = 86_400.0
LIMITS = "[limits]\nobservations-per-peer = 1\ntoken-length = 8\ndtls-sessions = 2\nbody-bytes = 32\n"


def ending(days: float) -> str:
    return date_of(time.time() + days * DAY).replace("+00:00", "Z")


CREDENTIALS: dict[str, Any] = {
    ":a": psk("a"),
    ":old": psk("old", 7, **{"not-after": ending(-1)}),
    ":soon": psk("soon", 8, **{"not-after": ending(3)}),
    ":c": oscore(True, 0x12, 3),
    ":over": oscore(True, 0x13, 4, **{"not-after": ending(-2)}),
    "*": {"unprotected": True},
}


class Watched:
    """A server, its log and its metrics."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "server.json"
        self.write(CREDENTIALS)
        (directory / "serve.toml").write_text(LIMITS)
        site = start_demo(
            directory, "--credentials", str(self.file), "--metrics", "127.0.0.1:0", "--log-format", "json",
            "--bind", "coap://127.0.0.1:0", "--bind", "coaps://127.0.0.1:0",
            "--config", str(directory / "serve.toml"), "--keylog", str(directory / "keys"),
        )  # fmt: skip
        self.program, self.coap, self.coaps = site
        self.plain_port = int(self.program.wait_for(r"listening coap://127\.0\.0\.1:(\d+)")[1])
        self.secure_port = int(self.program.wait_for(r"listening coaps://127\.0\.0\.1:(\d+)")[1])
        self.metrics = self.program.wait_for(r"metrics (http://[^\s\"]+)")[1]

    def write(self, content: object) -> None:
        self.file.write_text(content if isinstance(content, str) else json.dumps(content))

    def records(self, event: str, **members: Any) -> list[dict[str, Any]]:
        """Those of the log so far; each line is one object."""
        records = [json.loads(line) for line in self.program.output.splitlines() if line.endswith("}")]
        wanted = {"event": event, **members}
        return [one for one in records if wanted.items() <= one.items()]

    def heard(self, event: str, **members: Any) -> dict[str, Any]:
        """The first one, waited for."""
        deadline = time.monotonic() + 20
        while not (found := self.records(event, **members)):
            assert time.monotonic() < deadline, self.program.output
            time.sleep(0.02)  # another process writes it
        return found[0]

    def failures(self, event: str, cause: str) -> float:
        return scrape(self.metrics).get(("securecoap_failures_total", ("cause", cause), ("event", event)), 0)

    def reached(self, limit: str) -> float:
        return scrape(self.metrics)["securecoap_limits_reached_total", ("limit", limit)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = Watched(tmp_path_factory.mktemp("watched"))
    yield made
    made.program.stop()


@pytest.fixture
def fails(server, run, tmp_path):
    """A request over DTLS with a credential that is not taken."""

    def ask(credential: dict[str, Any]) -> None:
        file = tmp_path / "device.json"
        file.write_text(json.dumps({"coaps://*": credential}))
        assert run("get", f"{server.coaps}/hello", "--credentials", file).status == 3

    return ask


class Plain:
    """A client of datagrams."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", port))
        self.mid = 100

    def send(self, datagram: bytes) -> Message:
        """Under the next Message ID."""
        self.mid += 1
        self.socket.send(datagram[:2] + self.mid.to_bytes(2, "big") + datagram[4:])
        return Message.decode(self.socket.recv(2048))

    def ask(self, *options: tuple[int, bytes], code: int = Code.GET, token: bytes = b"t", payload: bytes = b"") -> int:
        answer = self.send(encode_message(CON, code, 0, token, Options([*options]).encode(), payload))
        return int(answer.code or 0)


@pytest.fixture
def plain(server):
    made = Plain(server.plain_port)
    yield made
    made.socket.close()


def test_an_unknown_identity_and_a_wrong_key(server, fails):
    fails(psk("nobody"))
    record = server.heard("handshake-failed", cause="unknown-identity")
    assert (record["level"], record["suppressed"]) == ("warning", 0)
    assert re.fullmatch(r"\[::1\]:\d+", record["peer"])
    assert "unknown identity b'nobody'" in record["message"]
    fails(psk("a", 99))
    assert "known identity b'a'" in server.heard("handshake-failed", cause="decrypt_error")["message"]
    assert server.failures("handshake-failed", "unknown-identity") == 1
    assert server.failures("handshake-failed", "decrypt_error") == 1


def test_a_credential_that_is_over_is_used(server, fails, plain):
    fails(psk("old", 7))
    assert ":old has ended on" in server.heard("credential-expired", cause="dtls")["message"]
    client = OscoreClient.from_entry(oscore(False, 0x13, 4)["oscore"])
    assert plain.send(client.protect(get("hello"))[1]).code == Code.UNAUTHORIZED
    assert ":over has ended on" in server.heard("credential-expired", cause="oscore")["message"]
    assert server.failures("credential-expired", "dtls") == 1
    assert server.failures("credential-expired", "oscore") == 1


def test_credentials_that_end_soon(server):
    assert server.heard("credential-ends", cause="soon")["message"].startswith("credential-ends (soon): :soon ends on")
    now = scrape(server.metrics)
    assert now["securecoap_credentials_ending", ("state", "soon")] == 1
    assert now["securecoap_credentials_ending", ("state", "over")] == 2
    ends = now["securecoap_credential_expiry_timestamp_seconds", ("credential", ":soon")]
    assert abs(ends - time.time() - 3 * DAY) < 3600
    assert ("securecoap_credential_expiry_timestamp_seconds", ("credential", ":a")) not in now


def test_oscore_messages_that_are_dropped(server, plain):
    entry = oscore(False, 0x12, 3)["oscore"]
    strangers = OscoreClient.from_entry({**entry, "sender-id": {"hex": "77"}})
    assert plain.send(strangers.protect(get("hello"))[1]).code == Code.UNAUTHORIZED
    assert server.heard("oscore-dropped", cause="unknown-context")["peer"].startswith("127.0.0.1:")
    good = OscoreClient.from_entry(entry)
    assert good.exchange(plain.socket, "hello").payload == b"hello"
    number, replayed = good.protect(get("hello"))
    assert good.open(number, plain.send(replayed).encode()).payload == b"hello"
    assert plain.send(replayed).code == Code.UNAUTHORIZED
    server.heard("oscore-dropped", cause="replay")
    wrong = OscoreClient.from_entry({**entry, "secret": {"hex": "99" * 16}}, start=50)
    assert plain.send(wrong.protect(get("hello"))[1]).code == Code.BAD_REQUEST
    server.heard("oscore-dropped", cause="not-decrypted")
    assert plain.ask((9, b"\x07"), code=Code.POST, payload=b"x") == Code.BAD_OPTION
    server.heard("oscore-dropped", cause="malformed")
    for cause in ("unknown-context", "replay", "not-decrypted", "malformed"):
        assert server.failures("oscore-dropped", cause) >= 1


def test_records_that_are_dropped(server):
    with SocketPeer() as peer:
        session = peer.connect(server.secure_port, PskCredential(b"a", bytes.fromhex(f"{1:032x}")))
        record = session.seal_application(
            encode_message(CON, Code.GET, 1, b"t", Options([(11, b"hello")]).encode(), b"")
        )
        broken = bytearray(session.seal_application(b"x" * 20))
        broken[-1] ^= 1
        for data in (record, record, bytes(broken)):
            peer.socket.sendto(data, ("127.0.0.1", server.secure_port))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
            elsewhere.sendto(
                b"\x17\xfe\xfd\x00\x01" + bytes(7) + b"\x18" + bytes(24), ("127.0.0.1", server.secure_port)
            )
            for cause in ("replay", "not-decrypted", "no-session"):
                assert server.heard("dtls-dropped", cause=cause)["level"] == "info"
                assert server.failures("dtls-dropped", cause) == 1


def test_limits(server, plain):
    observe = (6, b""), (11, b"time")
    assert plain.ask(*observe, token=b"1") == Code.CONTENT
    assert plain.ask(*observe, token=b"2") == Code.CONTENT
    assert plain.ask((11, b"hello"), token=b"123456789") == Code.SERVICE_UNAVAILABLE
    put = (11, b"store"), (11, b"x"), (27, b"\x08")  # the first of several blocks of 16 bytes
    assert plain.ask(*put, (60, b"\xff"), code=Code.PUT, payload=bytes(16)) == Code.REQUEST_ENTITY_TOO_LARGE
    for limit in ("observations_per_peer", "token_length", "body_bytes"):
        record = server.heard("limit-reached", limit=limit)
        assert f"Limits.{limit} = " in record["message"]
        assert server.reached(limit) == 1
    assert server.reached("peers") == 0


def test_a_session_that_has_to_go(server):
    with SocketPeer() as one, SocketPeer() as two, SocketPeer() as three:
        for peer in (one, two, three):
            peer.connect(server.secure_port, PskCredential(b"a", bytes.fromhex(f"{1:032x}")))
        server.heard("limit-reached", limit="dtls_sessions")
        assert server.reached("dtls_sessions") >= 1
        assert scrape(server.metrics)["securecoap_dtls_sessions",] == 2


def test_edhoc_that_fails(tmp_path, run):
    pytest.importorskip("lakers")
    from tests.edhoc import material  # it needs lakers

    file = tmp_path / "server.json"
    file.write_text(json.dumps({**CREDENTIALS, **material.server()}))
    site = start_demo(tmp_path, "--credentials", str(file), "--log-format", "json")
    try:
        for payload in ("00", "f50302"):
            (tmp_path / "message").write_bytes(bytes.fromhex(payload))
            outcome = run("post", f"{site.coap}/.well-known/edhoc", "--payload", f"@{tmp_path / 'message'}")
            assert outcome.status == 1
        for cause in ("no-exchange", "malformed"):
            site.program.wait_for(rf'"event": "edhoc-failed", "cause": "{cause}"')
    finally:
        site.program.stop()


def test_reloads(server):
    server.write("{")
    server.program.signal(signal.SIGHUP)
    failed = server.heard("reload-failed")
    assert (failed["level"], len(failed["faults"])) == ("error", 1)
    server.write(CREDENTIALS)
    server.program.signal(signal.SIGHUP)
    assert server.heard("reload")["entries"] == len(CREDENTIALS)
    now = scrape(server.metrics)
    assert now["securecoap_reloads_total", ("outcome", "good")] == 1
    assert now["securecoap_reloads_total", ("outcome", "failed")] == 1


def test_the_key_log_is_warned_of(server):
    assert server.heard("keylog")["level"] == "warning"


def test_no_key_and_no_word_of_a_peer(server, fails):
    """Labels have words of ours only, and the log no keys."""
    fails(psk('x"} evil{a="', 12))
    text = server.program.output
    for key in ("0" * 31 + "1", "0" * 31 + "3", "0" * 31 + "7"):
        assert key not in text
    assert all("evil" not in repr(key) for key in scrape(server.metrics))


def test_what_was_suppressed_is_told_at_the_end(tmp_path):
    made = Watched(tmp_path)
    client = Plain(made.plain_port)
    for _ in range(3):
        client.ask((11, b"hello"), token=b"123456789")
    made.heard("limit-reached", limit="token_length")
    client.socket.close()
    made.program.signal(signal.SIGTERM)
    assert made.program.wait_for_end() == 0
    assert made.records("limit-reached", limit="token_length", suppressed=2)
    made.program.stop()


def test_every_event_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
    names = {getattr(events, name) for name in events.__all__ if isinstance(getattr(events, name), str)}
    for name in names | {"reload", "reload-failed", "keylog", "metrics-exposed"}:
        assert f"| `{name}` |" in text, name
