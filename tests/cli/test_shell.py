"""``securecoap shell``: on a terminal of its own and from a pipe, against the demo server in another process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from support.processes import Program

from securecoap import Context
from securecoap.cli.place import Place
from securecoap.cli.shell import may_be_kept
from securecoap.cli.shell_completion import Completing
from securecoap.cli.shell_session import Session
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.loopback import real

from .pseudo_terminal import PseudoTerminal

CTRL_C, CTRL_D, CTRL_U, TAB, UP = "\x03", "\x04", "\x15", "\t", "\x1b[A"
PROMPT = ">"  # and a blank, for which the cursor may be moved


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A state directory with a history of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "securecoap"


def piped(*arguments, lines, **options):
    """The shell with its lines from a pipe: exit status, stdout, stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "securecoap", "shell", *map(str, arguments)],
        input="".join(line + "\n" for line in lines).encode(),
        capture_output=True,
        check=False,
        timeout=60,
        **options,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def prompted():
    """The line editor is an extra."""
    pytest.importorskip("prompt_toolkit")


# On a terminal


@pytest.mark.usefixtures("prompted", "home")
def test_a_session_on_a_terminal(demo):
    with PseudoTerminal("shell", demo.coap) as terminal:
        terminal.expect(r"coap://\[::1\]:\d+>")
        terminal.type("get /hel" + TAB)
        terminal.expect("lo")  # the rest of a resource that the server has
        terminal.type("\r")
        terminal.expect("2.05 Content.*5 bytes")
        terminal.expect("hello")
        terminal.expect(PROMPT)
        terminal.type("get /nowhere\r")
        terminal.expect("4.04 Not Found")
        terminal.expect("discover")
        terminal.expect(PROMPT)
        terminal.type("observe /time\r")
        terminal.expect(r"\d\d:\d\d:\d\d(.|\n)*\d\d:\d\d:\d\d")
        terminal.type(CTRL_C)
        terminal.expect(r"\^C")
        terminal.expect(PROMPT)  # the shell is still there
        terminal.type("put /store/on-terminal x\r")
        terminal.expect("2.0[14]")
        terminal.expect(PROMPT)
        terminal.type("discover\r")
        terminal.expect("<store/on-terminal>|</store/on-terminal>")
        terminal.expect(PROMPT)
        terminal.type("cd sto" + TAB)
        terminal.expect("re/")
        terminal.type("\r")
        terminal.expect("/store>")
        terminal.type("get on-terminal\r")
        terminal.expect("1 bytes(.|\n)*x")
        terminal.expect(PROMPT)
        terminal.type(CTRL_D)
        assert terminal.wait() == 0
        assert "Traceback" not in terminal.text


@pytest.mark.usefixtures("prompted", "home")
def test_tab_shows_commands_options_and_resources(demo):
    with PseudoTerminal("shell", demo.coap) as terminal:
        terminal.expect(PROMPT)
        terminal.type("p" + TAB)
        terminal.expect("patch(.|\n)*ping(.|\n)*post(.|\n)*put(.|\n)*pwd")
        terminal.type(CTRL_U + "get --b" + TAB)
        terminal.expect("lock-size")
        terminal.type(CTRL_U + "get " + TAB)
        terminal.expect("echo(.|\n)*What was sent(.|\n)*hello(.|\n)*A greeting")

    with PseudoTerminal("shell") as terminal:
        terminal.expect(PROMPT)
        terminal.type("help obs" + TAB)
        terminal.expect("erve")
        terminal.type("\r")
        terminal.expect("Ctrl-C ends it")
        terminal.expect(PROMPT)
        terminal.type("exit\r")
        assert terminal.wait() == 0


@pytest.mark.usefixtures("prompted", "home")
def test_ctrl_c_ends_a_request_that_nobody_answers():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as silent:
        silent.bind(("::1", 0))
        with PseudoTerminal("shell", f"coap://[::1]:{silent.getsockname()[1]}") as terminal:
            terminal.expect(PROMPT)
            terminal.type("get x\r")
            silent.settimeout(30)
            silent.recv(2048)
            terminal.type(CTRL_C)
            terminal.expect(r"\^C")
            terminal.expect(PROMPT)
            terminal.type("set timeout 7\r")
            terminal.expect(PROMPT + "(.|\n)*timeout 7\n(.|\n)*" + PROMPT)
            terminal.type("set\r")
            terminal.expect("\ntimeout 7\n")
            terminal.expect(PROMPT)
            terminal.type(CTRL_D)
            assert terminal.wait() == 0


@pytest.mark.usefixtures("prompted")
def test_the_history_outlives_the_shell_without_bodies(demo, home):
    for keys, shown in (("get /hello\r", "\nhello"), (UP, "get /hello")):
        with PseudoTerminal("shell", demo.coap) as terminal:
            terminal.expect(PROMPT)
            terminal.type(keys)
            terminal.expect(shown)
            if keys != UP:
                terminal.expect(PROMPT)
            terminal.type(CTRL_U + "put /echo secret\r")
            terminal.expect("2.04(.|\n)*secret(.|\n)*>")
            terminal.type(CTRL_D)
            assert terminal.wait() == 0
    history = home / "shell-history"
    assert history.read_text() == "get /hello\n"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600


@pytest.mark.usefixtures("home")
def test_a_terminal_without_the_extra(demo, tmp_path):
    (tmp_path / "prompt_toolkit").mkdir()
    (tmp_path / "prompt_toolkit" / "__init__.py").write_text("raise ImportError")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with PseudoTerminal("shell", demo.coap, environment={"PYTHONPATH": path}) as terminal:
        terminal.expect(r"pip install 'securecoap\[shell\]'")
        terminal.expect(PROMPT)
        terminal.type("get /hello\n")
        terminal.expect("\nhello")
        terminal.expect(PROMPT)
        terminal.type("observe /time\n")
        terminal.expect(r"\d\d:\d\d:\d\d")
        terminal.type(CTRL_C)
        terminal.expect(r"\^C")
        terminal.expect(PROMPT)
        terminal.type(CTRL_D)
        assert terminal.wait() == 0


# From a pipe


def test_lines_of_a_pipe(demo):
    lines = ["get /hello", "", "# a remark", "cd /store", 'put piped "a b"', "get piped", "pwd", "exit", "get /hello"]
    assert piped(demo.coap, lines=lines) == (0, f"hello\na b\n{demo.coap}/store\n", "")


def test_lines_of_a_file(demo, tmp_path):
    (tmp_path / "lines").write_bytes(b"get /hello\r\nget /whoami --accept json")
    with (tmp_path / "lines").open("rb") as lines:
        done = subprocess.run(
            [sys.executable, "-m", "securecoap", "shell", demo.coap],
            stdin=lines,
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0
    assert done.stdout.startswith(b'hello\n{"claims"')


@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        ("get /nowhere", 1, "4.04"),
        ("get", 1, "4.04"),
        ("nonsense", 2, "'help' lists all"),
        ("help nonsense", 2, "'help' lists all"),
        ('get "x', 2, "quotation"),
        ("get --no-such", 2, "'help get' says"),
        ("get a b", 2, "'help get' says"),
        ("get http://h/x", 2, "scheme"),
        ("put x @/no/such/file", 2, "no such file"),
        ("get /hello -o /no/such/directory/x", 2, "there is no directory"),
        ("get x --accept nonsense", 2, "content format"),
        ("cd ?a=b", 2, "no query"),
        ("set", 0, ""),
        ("set nonsense 1", 2, "timeout"),
        ("set timeout soon", 2, "seconds"),
        ("set block-size 17", 2, "1024"),
        ("set non perhaps", 2, "on, or off"),
        ("set accept nonsense", 2, "accept"),
        ("ls /nowhere", 1, "nothing is known"),
        ("discover coap://[::1]:1", 3, "nothing listens"),
        ("get /hello -o /dev/full", 1, "No space left"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(demo, line, status, says):
    result, out, err = piped(demo.coap, lines=[line, "get /hello"])
    assert (result, out) == (status, "hello\n")  # and the next line is carried out
    assert says in err
    assert "Traceback" not in err


def test_settings_hold_for_all_requests(demo):
    lines = [
        "set content-format json", "put store/set {}", "set accept cbor", "get store/set", "set accept", "get store/set -q",
        "get store/set", "set timeout 20", "set block-size 16", "set non on", "get store/set", "set",
    ]  # fmt: skip
    status, out, err = piped(demo.coap, lines=lines)
    assert status == 1
    assert "4.06" in err
    assert out == "{}\n{}\nblock-size 16\ncontent-format json\nnon on\ntimeout 20\n"


def test_what_the_server_has(demo):
    status, out, _ = piped(demo.coap, lines=["ls", "discover ?ct=50"])
    assert status == 0
    assert "hello                     A greeting\n" in out
    assert "time                      The time, each second, observable\n" in out
    assert '</whoami>;ct=50;title="What you have proved"' in out.splitlines()[-1]


def test_without_a_server(demo):
    status, out, err = piped(lines=["pwd", "get x", "ls", f"cd {demo.coap}", "get hello", f"ping {demo.coap}"])
    assert (status, out) == (2, "hello\n")
    assert err.count("cd coap://HOST") == 3


def test_help(demo):
    status, out, err = piped(demo.coap, lines=["help", "help put", "put --help"])
    assert (status, err) == (0, "")
    assert "observe   Print a resource" in out
    assert out.count("BODY is a text") == 2


def test_sessions_last_from_line_to_line(secure, write):
    """One handshake for all: the server would answer a second one as well, so its count is asked of the key log."""
    psk = {"hex": "70d634576ed8c60fac270a44780f754a"}
    file = write({f"{secure.coaps}/*": {"dtls": {"client-identity": {"ascii": "sensor-17"}, "psk": psk}}})
    log = file.with_name("keys")
    arguments = secure.coaps, "--credentials", file, "--keylog", log
    status, out, _ = piped(*arguments, lines=["get /whoami", "get /hello", "put /store/s x", "get /store/s"])
    assert status == 0
    whoami, *rest = out.splitlines()
    assert json.loads(whoami)["security"] == "dtls"
    assert rest == ["hello", "x"]
    assert len(log.read_text().splitlines()) == 1


def test_credentials_that_are_missing(demo, write):
    file = write({"coaps://other/*": {"dtls": {"client-identity": {"ascii": "a"}, "psk": {"hex": "00" * 16}}}})
    status, out, err = piped(demo.coap, "--credentials", file, lines=["get coaps://[::1]/x", "get /hello"])
    assert (status, out) == (2, "hello\n")
    assert "nothing was sent" in err


def test_sigterm_ends_a_shell(demo):
    process = subprocess.Popen(
        [sys.executable, "-m", "securecoap", "shell", demo.coap], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        process.stdin.write(b"get /hello\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"hello\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM


def test_options_of_requests_hold_for_all(demo):
    options = "--accept", "cbor", "--content-format", "json", "--block-size", "16", "--non"
    status, out, err = piped(demo.coap, *options, lines=["set", "get /whoami", "set accept", "get /whoami"])
    accept, block_size, content_format, non, answer = out.splitlines()
    assert (accept, block_size) == ("accept application/cbor", "block-size 16")
    assert (content_format, non) == ("content-format application/json", "non on")
    assert answer.startswith('{"claims"')
    assert status == 1
    assert "4.06" in err


@pytest.mark.parametrize("option", [["--payload", "x"], ["-o", "x"]])
def test_options_of_commands_are_not_the_shell_s(run, option):
    outcome = run("shell", "coap://h", *option)
    assert outcome.status == 2
    assert "each command of the shell" in outcome.err


# Completion


def test_a_resource_that_is_named_like_an_option_is_none_in_a_line():
    place = Place("coap://h")
    place.learn("coap://h", b"</-oFILE>,</--help>,</-a/b>,</a>")
    connection = {"quiet": False, "verbose": 0, "timeout": 3.0}
    completing = Completing(Session(None, place, connection, None, interactive=False))
    for line, begun in (("get ", ""), ("get ./", "./"), ("cd /", "/")):
        found = [text for text, _, _ in asyncio.run(completing.complete(line))]
        assert all(text.startswith(begun or ("./-", "a")) for text in found)
        assert found
    assert "./-oFILE" in [text for text, _, _ in asyncio.run(completing.complete("get "))]


# Groups


def test_every_member_of_a_group_is_shown(capfd):
    asked = []

    class Endpoint:
        async def ask_group(self, uri, payload, *, method, **options):
            assert (payload, method) == (b"", Code.GET)
            asked.append((uri, options))
            for number in (1, 2):
                answer = Message(Code.CONTENT, b"</%d>" % number, content_format=40)
                answer.remote = SimpleNamespace(uri=f"coap://[fe80::{number}]")
                yield answer

    connection = {"quiet": False, "verbose": 0, "timeout": 3.0}
    session = Session(Endpoint(), Place(), connection, None, interactive=False)
    assert asyncio.run(session.discover("coap://[ff02::fd%25eth0]?rt=x")) == 0
    out, err = capfd.readouterr()
    assert out == "</1>\n</2>\n"
    assert [line.split()[1] for line in err.splitlines()] == ["coap://[fe80::1]:", "coap://[fe80::2]:"]
    assert asked == [("coap://[ff02::fd%25eth0]/.well-known/core?rt=x", {"timeout": 3.0})]
    assert asyncio.run(session.request("get", "coap://[ff02::fd%25eth0]/a")) == 0
    assert capfd.readouterr().out == "</1>\n</2>\n"
    assert asked[1:] == [("coap://[ff02::fd%25eth0]/a", {"timeout": 3.0})]


# What is written to the history


@pytest.mark.parametrize("line", ["get /x", "put /x", "put /x @file", "cd store", "observe /time", "set accept json"])
def test_kept(line):
    assert may_be_kept(line)


@pytest.mark.parametrize(
    "line", ["", " get /x", "put /x secret", 'put /x "a b"', "post x @f --accept json", 'fetch x "', "ipatch x y z"]
)
def test_not_kept(line):
    assert not may_be_kept(line)


@pytest.fixture
def served(tmp_path):
    """A server of files: its URI, and where they are."""
    root = tmp_path / "root"
    (root / "inner" / "deep").mkdir(parents=True)
    (root / "a.txt").write_text("a")
    (root / "inner" / "b.txt").write_text("b")
    command = [sys.executable, "-m", "securecoap", "serve", "--files", f"{root}=/files", "--bind", "coap://[::1]:0"]
    with Program(command, directory=tmp_path) as program:
        yield program.wait_for(r"listening (coap://\S+)")[1], root


@pytest.mark.usefixtures("home")
def test_directories_are_followed(served):
    uri, _ = served
    names = []
    for path in ("/files", "/files/", "/files/inner"):
        status, out, err = piped(uri, lines=[f"ls {path}"])
        assert status == 0, err
        names.append([line.split()[0] for line in out.splitlines()])
    assert names[0] == names[1] == [".", "a.txt", "inner/"]
    assert names[2] == [".", "b.txt", "deep/"]


@real
async def test_directories_are_completed_and_listed_anew(served, capfdbinary):
    uri, root = served
    async with Context.client() as coap:
        connection: Any = {"quiet": False, "verbose": 0, "timeout": 30.0}
        session = Session(coap, Place(uri), connection, None, interactive=False)
        completing = Completing(session)

        async def texts(line):
            return [text for text, _, _ in await completing.complete(line)]

        assert await texts("get /fi") == ["/files/"]
        assert await texts("get /files/") == ["/files/a.txt", "/files/inner/"]
        assert await texts("get /files/inner/b") == ["/files/inner/b.txt"]
        (root / "a.txt").rename(root / "c.txt")
        assert await texts("get /files/") == ["/files/a.txt", "/files/inner/"]  # asked once
        assert await session.list_resources("/files/") == 0
        assert await texts("get /files/") == ["/files/c.txt", "/files/inner/"]
    assert b"c.txt" in capfdbinary.readouterr().out
