"""Requests on the command line, against a stand-in for `Context` that answers or fails as it is told."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from securecoap import errors
from securecoap.context import Context
from securecoap.streaming import open_sink, open_source
from securecoap.wire.block import Block
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from securecoap.wire.problem_details import ProblemDetails

URI = "coap://[::1]/x"


class Client:
    """What `Context.client` gives; notes how it was made and what it was asked."""

    def __init__(self) -> None:
        self.made: dict[str, Any] | None = None
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.answers = [Message(Code.CONTENT, b"hello", content_format=0)]
        self.error = None
        self.deregistered = False
        self.closed = False
        self.waits = False

    def __call__(self, **arguments):
        self.made = arguments
        return self

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.closed = True

    async def _request(self, method, uri, **options):
        self.asked.append((method, uri, options))
        if self.waits:
            os.kill(os.getpid(), self.waits)
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return self.answers[0]

    async def download(self, uri, to, *, progress, **options):
        answer = await self._request("get", uri, **options)
        if answer.code == Code.CONTENT:
            async with open_sink(to) as sink:
                await sink.write(answer.payload)
                progress(len(answer.payload), len(answer.payload))
                await sink.finish()
            answer = answer.copy()
            answer.payload = b""
        return answer

    async def upload(self, uri, source, *, method, to, progress, **options):
        async with open_source(source) as opened:
            body, _ = await opened.read(1 << 20)
        progress(len(body), len(body))
        return await self._request(method.name.lower(), uri, payload=body, to=to, **options)

    async def observe(self, uri, **options):
        self.asked.append(("observe", uri, options))
        try:
            if self.error is not None:
                raise self.error
            for answer in self.answers:
                yield answer
            if self.waits:
                os.kill(os.getpid(), self.waits)
                await asyncio.Event().wait()
        finally:
            self.deregistered = True

    async def ask_group(self, uri, payload, *, method, **options):
        self.asked.append((f"group {method.name}", uri, options | ({"payload": payload} if payload else {})))
        for answer in self.answers:
            yield answer

    async def ping(self, uri, **options):
        await self._request("ping", uri, **options)


for name in ("get", "post", "put", "delete", "fetch", "patch", "ipatch"):

    async def request(self, uri, _name=name, **options):
        return await self._request(_name, uri, **options)

    setattr(Client, name, request)


@pytest.fixture
def client(monkeypatch):
    client = Client()
    monkeypatch.setattr(Context, "client", client)
    return client


# What is asked


@pytest.mark.parametrize("method", ["get", "delete"])
def test_methods_without_body(client, run, method):
    assert run(method, URI) == (0, b"hello", "")
    assert client.asked == [(method, URI, {"confirmable": True})]
    assert client.closed


@pytest.mark.parametrize("method", ["post", "put", "fetch", "patch", "ipatch"])
def test_methods_with_body(client, run, method):
    assert run(method, URI, "--payload", "hi", "--content-format", "json") == (0, b"hello", "")
    assert client.asked == [(method, URI, {"confirmable": True, "payload": b"hi", "content_format": 50})]


def test_options_reach_the_request(client, run):
    run("get", URI, "--accept", "60", "--non", "--timeout", "1.5", "--block-size", "64")
    assert client.asked == [
        (
            "get",
            URI,
            {"accept": 60, "confirmable": False, "timeout": 1.5, "block2": Block(0, more=False, size_exponent=2)},
        )
    ]


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256, 512, 1024])
def test_a_body_larger_than_a_block_goes_in_blocks(client, run, size):
    run("put", URI, "--payload", "x" * size, "--block-size", size)
    run("put", URI, "--payload", "x" * (size + 1), "--block-size", size)
    small, large = (options for _, _, options in client.asked)
    assert "block1" not in small
    assert large["block1"].size == small["block2"].size == size


def test_options_reach_the_client(client, run, write, tmp_path):
    file = write({"coap://[::1]/*": {"unprotected": True}})
    run("get", URI, "--credentials", file, "--state", tmp_path / "s", "--keylog", tmp_path / "k", "--timeout", "10")
    made = client.made
    assert list(made.pop("credentials").entries) == ["coap://[::1]/*"]
    assert made.pop("state_wait") <= 10
    assert made == {"state": tmp_path / "s", "keylog": tmp_path / "k", "engine": "python"}
    run("get", URI)
    assert client.made == {"credentials": None, "state": None, "keylog": None, "engine": "python"}


def test_payload_of_a_file_and_of_stdin(client, run, tmp_path, monkeypatch):
    (tmp_path / "body").write_bytes(b"\x00\xff")
    run("post", URI, "--payload", f"@{tmp_path / 'body'}")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"\xfe\n")))
    run("post", URI, "--payload", "-")
    run("post", URI, "--payload", "")
    run("post", URI)
    assert [options["payload"] for _, _, options in client.asked] == [b"\x00\xff", b"\xfe\n", b"", b""]


@pytest.mark.parametrize("uri", ["coap://h", "coap://h/", "coap://h/.well-known/core", "coap://h:5683"])
def test_discover_asks_the_whole_server(client, run, uri):
    run("discover", f"{uri}?rt=a&if=b*")
    assert client.asked[0][:2] == ("get", "coap://h/.well-known/core?rt=a&if=b*")


@pytest.fixture
def group(client):
    """Three members, one of which refuses."""

    class Member:
        def __init__(self, number):
            self.uri = f"coap://[fe80::{number}]"

    client.answers = [
        Message(Code.CONTENT, b"</a>", content_format=40),
        Message(Code.NOT_FOUND),
        Message(Code.CONTENT, b"</b>,</c>", content_format=40),
    ]
    for number, answer in enumerate(client.answers):
        answer.remote = Member(number)
    return client


@pytest.mark.parametrize("host", ["[ff02::fd%25eth0]", "224.0.1.187"])
def test_discover_shows_what_every_member_of_a_group_has(group, run, host):
    outcome = run("discover", f"coap://{host}?rt=a", "--timeout", "3", "--accept", "40")
    assert outcome[:2] == (0, b"</a>\n</b>,</c>\n")
    assert [line.partition(", ")[0] for line in outcome.err.splitlines() if "coap://" in line] == [
        "securecoap: coap://[fe80::0]: 2.05 Content",
        "securecoap: coap://[fe80::1]: 4.04 Not Found",
        "securecoap: coap://[fe80::2]: 2.05 Content",
    ]
    uri = f"coap://{host}/.well-known/core?rt=a"
    assert group.asked == [("group GET", uri, {"accept": 40, "timeout": 3.0})]


def test_get_of_a_group_shows_every_answer(group, run):
    outcome = run("get", "coap://224.0.1.187/a", "--timeout", "3", "--non")
    assert outcome[:2] == (0, b"</a>\n</b>,</c>\n")
    assert "securecoap: coap://[fe80::2]: 2.05 Content" in outcome.err
    assert group.asked == [("group GET", "coap://224.0.1.187/a", {"timeout": 3.0})]


def test_a_body_for_a_group(group, run, tmp_path):
    (tmp_path / "body").write_bytes(b"on")
    group.answers = group.answers[:1]
    for payload in ("on", f"@{tmp_path / 'body'}"):
        outcome = run("put", "coap://[ff02::fd]/lamp", "--payload", payload, "-o", tmp_path / "out")
        assert outcome[:2] == (0, b"")
        assert (tmp_path / "out").read_bytes() == b"</a>\n"
    assert group.asked == [("group PUT", "coap://[ff02::fd]/lamp", {"payload": b"on"})] * 2


def test_an_answer_of_a_member_without_a_payload(group, run):
    group.answers = group.answers[:1]
    group.answers[0].payload = b""
    assert run("get", "coap://[ff02::fd]/a")[:2] == (0, b"")


def test_a_group_behind_a_proxy_is_asked_by_the_proxy(group, run):
    run("get", "coap://[ff02::fd]/a", "--proxy", "coap://p")
    assert [(how, uri) for how, uri, _ in group.asked] == [("get", "coap://p")]


def test_discover_of_a_group_writes_a_file(group, run, tmp_path):
    assert run("discover", "coap://[ff02::fd%25eth0]", "-o", tmp_path / "out").out == b""
    assert (tmp_path / "out").read_bytes() == b"</a>\n</b>,</c>\n"


def test_a_group_in_which_nobody_answers(group, run, tmp_path):
    group.answers = []
    outcome = run("discover", "coap://[ff02::fd]", "-o", tmp_path / "out")
    assert outcome[:2] == (3, b"")
    assert "nobody in the group answered" in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_group_that_refuses(group, run):
    group.answers = group.answers[1:2]
    assert run("discover", "coap://[ff02::fd]").status == 1


# What comes out


@pytest.mark.parametrize("payload", [b"", b"\x00\xff\n", b"text", b'{"a":1}'])
def test_stdout_has_the_payload_and_nothing_else(client, run, payload):
    client.answers = [Message(Code.CONTENT, payload, content_format=50)]
    assert run("get", URI) == (0, payload, "")


def test_output_goes_to_a_file(client, run, tmp_path):
    (tmp_path / "out").write_bytes(b"much longer than the answer")
    assert run("get", URI, "-o", tmp_path / "out") == (0, b"", "")
    assert (tmp_path / "out").read_bytes() == b"hello"
    assert run("get", URI, "-o", "-") == (0, b"hello", "")


def test_an_error_response_makes_no_file(client, run, tmp_path):
    client.answers = [Message(Code.NOT_FOUND, b"no such thing")]
    assert run("get", URI, "-o", tmp_path / "out", "-q") == (1, b"", "securecoap: 4.04 Not Found: no such thing\n")
    assert not (tmp_path / "out").exists()


def test_a_file_that_cannot_be_written_after_all(client, run):
    outcome = run("get", URI, "-o", "/dev/full")
    assert outcome.status == 1
    assert "No space left on device" in outcome.err


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Message(Code.NOT_FOUND), "4.04 Not Found"),
        (Message(Code.INTERNAL_SERVER_ERROR, b"a\x1b[2Jb"), "5.00 Internal Server Error: a\\x1b[2Jb"),
        (Message(0x9E, b""), "4.30"),
        (Message(Code.BAD_REQUEST, b"\xa1\x20\x62hi", content_format=257), "4.00 Bad Request: hi"),
        (
            Message(Code.NOT_FOUND, ProblemDetails("Not Found", "gone").encode(), content_format=257),
            "4.04 Not Found: gone",
        ),
        (Message(Code.NOT_FOUND, ProblemDetails("Not Found").encode(), content_format=257), "4.04 Not Found"),
        (
            Message(Code.BAD_REQUEST, ProblemDetails("t", extensions={7: {1: 2}}).encode(), content_format=257),
            '4.00 Bad Request: t\n  {-1: "t", 7: {1: 2}}',
        ),
        (Message(0x65, b"what"), "3.05: what"),
    ],
)
def test_error_responses(client, run, message, text):
    client.answers = [message]
    assert run("get", URI, "-q") == (1, b"", f"securecoap: {text}\n")


def test_verbose_describes_the_answer(client, run):
    client.answers = [Message(Code.CREATED, location_path=("a", "b"))]
    client.answers[0].remote = SimpleNamespace(security="oscore", authenticated_claims=(":gateway", "admin"))
    outcome = run("post", URI, "-v")
    assert (
        outcome.err == "securecoap: 2.01 Created, 0 bytes, location /a/b, protected by OSCORE, claims :gateway admin\n"
    )


# How it ends


@pytest.mark.parametrize("command", ["get", "put", "observe", "discover", "ping"])
@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (errors.RequestTimeout("nobody"), 3, "nobody"),
        (errors.ResetReceived("rejected"), 3, "rejected"),
        (errors.Unreachable(111, "nobody there"), 3, "nobody there"),
        (errors.HandshakeFailed("the peer ended it", "decrypt_error"), 3, "the peer ended it (alert: decrypt_error)"),
        (errors.SessionEnded("gone"), 3, "gone"),
        (errors.UnprotectedResponse("plain"), 3, "plain"),
        (errors.TransferFailed("changed"), 3, "changed"),
        (errors.CredentialsMissing("none"), 2, "none"),
        (errors.ContextInUse("taken"), 2, "taken"),
        (errors.StateError("unreadable"), 2, "unreadable"),
        (errors.RequestTimeout(), 3, "RequestTimeout"),
    ],
)
def test_failures(client, run, command, error, status, text):
    client.error = error
    uri = "coap://[::1]" if command == "discover" else URI
    assert run(command, uri, "-q") == (status, b"", f"securecoap: {text}\n")
    assert client.closed
    outcome = run(command, uri)
    first, advice = outcome.err.splitlines()
    assert (outcome.status, outcome.out, first) == (status, b"", f"securecoap: {text}")
    assert advice.startswith("  ")  # what to do next


def test_a_failure_with_vv_shows_where(client, run):
    client.error = errors.RequestTimeout("nobody")
    assert "Traceback" in run("get", URI, "-vv").err
    assert "Traceback" not in run("get", URI, "-v").err


def test_a_fault_of_ours_is_not_taken_for_a_response(client, run):
    client.error = RuntimeError("bug")
    outcome = run("get", URI)
    assert outcome.status == 70
    assert "RuntimeError: bug" in outcome.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["get", "ping"])
def test_a_signal_ends_a_request(client, run, command, number):
    client.waits = number
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert run(command, URI) == (128 + number, b"", "")
    assert client.closed
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_broken_credentials_list_every_fault_and_start_nothing(client, run, write):
    file = write({":a": {"dtls": {}}, ":b": ":nowhere"})
    outcome = run("get", URI, "--credentials", file)
    assert outcome.status == 2
    assert ":a.dtls" in outcome.err
    assert ":nowhere" in outcome.err
    assert client.made is None


def test_warnings_of_credentials_are_said(client, run, write):
    file = write({"coaps://h/*": {"dtls": {"client-identity": {"ascii": "a"}, "psk": {"ascii": "short"}}}})
    outcome = run("get", URI, "--credentials", file)
    assert outcome.status == 0
    assert "WARNING" in outcome.err
    assert "psk" in outcome.err
    assert "short" not in outcome.err.replace("shorter", "")


# Observation


def test_observe_prints_each_with_a_newline(client, run):
    client.answers = [Message(Code.CONTENT, payload, observe=n) for n, payload in enumerate([b"1", b"", b"\xff"])]
    outcome = run("observe", URI, "--timeout", "3", "--accept", "text")
    assert outcome[:2] == (0, b"1\n\n\xff\n")
    assert "does not send notifications" in outcome.err
    assert client.asked == [("observe", URI, {"confirmable": True, "accept": 0, "timeout": 3.0})]


def test_observe_ends_with_an_error_response(client, run):
    client.answers = [Message(Code.CONTENT, b"1"), Message(Code.NOT_FOUND, b"gone"), Message(Code.CONTENT, b"2")]
    assert run("observe", URI, "-q") == (1, b"1\n", "securecoap: 4.04 Not Found: gone\n")
    assert client.deregistered


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_the_regular_end_of_an_observation(client, run, number):
    client.waits = number
    assert run("observe", URI) == (0, b"hello\n", "")
    assert client.deregistered
    assert client.closed


def test_observe_writes_to_a_file(client, run, tmp_path):
    client.answers *= 2
    assert run("observe", URI, "-o", tmp_path / "out").out == b""
    assert (tmp_path / "out").read_bytes() == b"hello\nhello\n"


def test_ping_prints_nothing(client, run):
    assert run("ping", URI, "--timeout", "2") == (0, b"", "")
    assert client.asked == [("ping", URI, {"timeout": 2.0})]


# Usage


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["get"],
        ["get", "example.com/x"],
        ["get", "http://h/x"],
        ["get", "coap://h/#f"],
        ["get", URI, "more"],
        ["get", URI, "--accept", "no-such-format"],
        ["get", URI, "--accept", "65536"],
        ["get", URI, "--payload", "x"],
        ["delete", URI, "--content-format", "0"],
        ["observe", URI, "--payload", "x"],
        ["put", URI, "--payload", "@/no/such/file"],
        ["get", URI, "--timeout", "0"],
        ["get", URI, "--timeout", "-1"],
        ["get", URI, "--timeout", "nan"],
        ["get", URI, "--timeout", "inf"],
        ["get", URI, "--block-size", "48"],
        ["get", URI, "--block-size", "2048"],
        ["get", URI, "--dtls-engine", "openssl"],
        ["get", URI, "--credentials", "/no/such/file"],
        ["get", URI, "-o", "/no/such/directory/file"],
        ["get", URI, "-o", "/tmp"],
        ["get", URI, "--no-such-option"],
        ["discover", "coap://h/path"],
        ["get", URI, "--proxy", "p"],
        ["get", URI, "--proxy", "coap://p/path"],
        ["get", URI, "--proxy", "coap://p?query"],
        ["ping", URI, "--proxy", "coap://p"],
        ["no-such-command"],
        ["serve"],
    ],
)
def test_usage_errors(client, run, arguments):
    outcome = run(*arguments)
    assert outcome[:2] == (2, b"")
    assert outcome.err
    assert client.made is None


@pytest.mark.parametrize("command", ["get", "put", "observe", "discover"])
def test_proxy(client, run, command):
    """The request goes to the proxy, and names its target by Proxy-Scheme and the Uri options (RFC 7252 5.10.2)."""
    path = ".well-known/core" if command == "discover" else "a/b"
    uri = "coap://[2001:db8::1]" if command == "discover" else "coap://[2001:db8::1]/a/b"
    assert run(command, f"{uri}?c", "--proxy", "coaps://p:77").status == 0
    ((_, where, options),) = client.asked
    for name in ("timeout", "confirmable", "payload"):
        options.pop(name, None)
    assert where == "coaps://p:77"
    request = Message(Code.GET, uri=where, **options)
    assert (request.scheme, request.unresolved_remote) == ("coaps", "p:77")
    assert request.options.uri_host == "2001:db8::1"
    assert request.uri == f"coap://[2001:db8::1]/{path}?c"


@pytest.mark.parametrize(
    "command", ["", "get", "observe", "discover", "ping", "shell", "serve", "credentials", "credentials check"]
)
def test_every_command_has_help(run, command):
    outcome = run(*command.split(), "--help")
    assert (outcome.status, outcome.err) == (0, "")
    assert b"Usage: securecoap" in outcome.out


def test_version(run):
    outcome = run("--version")
    assert outcome.status == 0
    assert b"0.1" in outcome.out
