"""The plugtest cases against libcoap 4.3.1 and node-coap, where these can play their part.

All cases run between our own client and server, over simulated networks, in ``tests/core/test_etsi_*.py``. Here:

| peer | as | cases | why not the others |
| --- | --- | --- | --- |
| libcoap | client | CORE_01 to 11, 13 to 16, 18 to 23, BLOCK_01 to 06, OBS_01, 02, 07 to 09, 12 to 14, LINK_01 to 08 | it \
sends no empty token; its program sends no ping that it shows, and keeps its observation when OBS_04 to 06 want it gone; \
CORE_17, OBS_10, 11 and LINK_09 show nothing new |
| libcoap | server | CORE_01 to 03, 05, 07, 09, 11, 13, 14, 17, 31, BLOCK_01, 03, 06, OBS_01, 12, LINK_01, 02, 03, 05, 07 \
| its program has none of the other resources |
| node-coap | client | CORE_01 to 09, 13, 14, 18 to 20, 23, BLOCK_06, LINK_01 to 08 | it reads entity tags as text, \
knows no Echo, and so gets large bodies in small blocks only; it makes its tokens by itself |
| node-coap | server | CORE_01 to 05, 09, 11, 13, 14, 17, 18, 20, BLOCK_01, 02, OBS_01, 10, 12 | it has no ETag, no \
Location-Query and no Block1 to speak of |

What libcoap has sent and received is read from its own log, not by our decoder.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support.processes import free_ports

from securecoap import Code, Context, Message
from securecoap.wire.block import Block
from securecoap.wire.link_format import parse_links
from tests.core.etsi import LARGE
from tests.interop.harness import ROOT, Ours, node_script, program, run
from tests.loopback import real

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.processes import Program

FILTERS = {
    "link_01": "", "link_02": "rt=Type1", "link_03": "rt=*", "link_04": "rt=Type2", "link_05": "if=If*", "link_06": "sz=*",
    "link_07": "href=/link1", "link_08": "href=/link*",
}  # fmt: skip
FOUND = {
    "link_02": {"/link1", "/link3"}, "link_03": {"/link1", "/link2", "/link3", "/link4"}, "link_04": {"/link1", "/link2"},
    "link_05": {"/link1", "/link2"}, "link_06": {"/link3"}, "link_07": {"/link1"},
    "link_08": {"/link1", "/link2", "/link3", "/link4"},
}  # fmt: skip


@pytest.fixture
def base(start: Callable[..., Program]) -> str:
    """Our server with the plugtest's resources; its base URI."""
    command = Ours.command("serve", "tests.core.etsi:site", "--insecure", "--bind", "coap://127.0.0.1:0")
    server = start(*command, environment={"PYTHONPATH": str(ROOT)})
    return server.wait_for(r"^listening (coap://\S+)")[1].rstrip("/")


# libcoap's client.


class Pdu(NamedTuple):
    """One line of libcoap's log."""

    type: str
    code: str
    mid: str
    token: str
    options: tuple[str, ...]
    payload: str


_PDU = re.compile(
    r"^v:1 t:(\w+) c:(\S+) i:(\w+) \{(\w*)\} \[ (.*?) ?\](?: :: (?:'(.*)'|binary data.*))?$", re.MULTILINE
)


def shown(log: str) -> list[Pdu]:
    """Every message that the log shows."""
    return [
        Pdu(kind, code, mid, token, tuple(options.split(", ")) if options else (), payload)
        for kind, code, mid, token, options, payload in _PDU.findall(log)
    ]


def libcoap(base: str, path: str, *arguments: str | Path) -> list[Pdu]:
    """Run it; the messages, without the copies that it shows to its own layers."""
    printed = run(program("coap-client-notls"), "-U", "-v", "7", "-B", "20", *arguments, f"{base}{path}")
    found: dict[tuple[str, str, str], Pdu] = {}
    for pdu in shown(printed):
        key = (pdu.type, pdu.code, pdu.mid)
        # What the library has put together is shown once more under the application's token: the first is the wire's.
        if key not in found or pdu.code[0].isalpha():
            found[key] = pdu
    assert found, printed
    return list(found.values())


def without_challenge(pdus: list[Pdu]) -> list[Pdu]:
    """A stranger that asks for much is asked for an Echo first, and gives it."""
    refused = {pdu.mid for pdu in pdus if pdu.code == "4.01"}
    assert len(refused) <= 1
    return [pdu for pdu in pdus if pdu.mid not in refused]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param([], "2.05", id="core_01"),
        pytest.param(["-m", "delete"], "2.02", id="core_02"),
        pytest.param(["-m", "put", "-t", "0", "-e", "x"], "2.04", id="core_03"),
        pytest.param(["-m", "post", "-t", "0", "-e", "x"], "2.01", id="core_04"),
    ],
)
@pytest.mark.parametrize("kind", ["CON", "NON"])  # CORE_05 to 08
def test_libcoap_core_01_to_08(base: str, kind: str, arguments: list[str], code: str) -> None:
    request, response = libcoap(base, "/test", *(["-N"] if kind == "NON" else []), *arguments)
    assert (request.type, response.type) == (kind, "ACK" if kind == "CON" else "NON")
    assert response.code == code
    assert response.token == request.token != ""
    assert (response.mid == request.mid) == (kind == "CON")
    assert bool(response.payload) == ("Content-Format:text/plain" in response.options)
    if code == "2.01":  # CORE_18
        assert response.options == tuple(f"Location-Path:location{number}" for number in (1, 2, 3))


def test_libcoap_core_09_and_11(base: str) -> None:
    request, empty, response, last = libcoap(base, "/separate", "-T", "abcdefg")
    assert (empty.type, empty.code, empty.mid, empty.token) == ("ACK", "0.00", request.mid, "")
    assert (response.type, response.code, response.payload) == ("CON", "2.05", "separate")
    assert response.token == request.token
    assert len(response.token) == 14
    assert (last.type, last.code, last.mid, last.token) == ("ACK", "0.00", response.mid, "")


@pytest.mark.parametrize("length", range(1, 9))
def test_libcoap_core_10(base: str, length: int) -> None:
    request, response = libcoap(base, "/test", "-T", "a" * length)
    assert response.token == request.token
    assert len(request.token) == 2 * length


@pytest.mark.parametrize(
    ("path", "options", "payload"),
    [
        pytest.param("/seg1/seg2/seg3", ("seg1", "seg2", "seg3"), "seg1/seg2/seg3", id="core_13"),
        pytest.param("/query?first=1&second=2", ("query", "first=1", "second=2"), "first=1&second=2", id="core_14"),
    ],
)
def test_libcoap_core_13_and_14(base: str, path: str, options: tuple[str, ...], payload: str) -> None:
    request, response = libcoap(base, path)
    assert tuple(option.partition(":")[2] for option in request.options) == options
    assert (response.code, response.payload) == ("2.05", payload)


def test_libcoap_core_15_and_16_lossy(base: str) -> None:
    """Its first transmission is lost; the copy brings one result."""
    assert [pdu.code for pdu in libcoap(base, "/test", "-l", "1")] == ["GET", "2.05"]
    assert [pdu.code for pdu in libcoap(base, "/separate", "-l", "1")] == ["GET", "0.00", "2.05", "0.00"]


def test_libcoap_core_19(base: str) -> None:
    _, response = libcoap(base, "/location-query", "-m", "post", "-t", "0", "-e", "x")
    assert (response.code, response.options) == ("2.01", ("Location-Query:first=1", "Location-Query:second=2"))


def test_libcoap_core_20(base: str) -> None:
    for number, name, payload in (("0", "text/plain", "text"), ("41", "application/xml", "<text/>")):
        _, response = libcoap(base, "/multi-format", "-A", number)
        assert (response.code, response.options, response.payload) == ("2.05", (f"Content-Format:{name}",), payload)


def etag(response: Pdu) -> str:
    (found,) = (option.partition(":")[2] for option in response.options if option.startswith("ETag:"))
    return found


def test_libcoap_core_21_and_22(base: str) -> None:
    def ask(*arguments: str) -> Pdu:
        return libcoap(base, "/validate", *arguments)[-1]

    first = ask()
    valid = ask("-O", f"4,{etag(first)}")
    assert (valid.code, valid.payload, etag(valid)) == ("2.03", "", etag(first))
    assert ask("-m", "put", "-t", "0", "-e", "second", "-O", f"1,{etag(first)}").code == "2.04"
    second = ask("-O", f"4,{etag(first)}")
    assert (second.code, second.payload) == ("2.05", "second")
    assert etag(second) != etag(first)
    assert ask("-m", "put", "-t", "0", "-e", "other").code == "2.04"
    assert ask("-m", "put", "-t", "0", "-e", "third", "-O", f"1,{etag(second)}").code == "4.12"
    assert ask().payload == "other"


def test_libcoap_core_23(base: str) -> None:
    codes = [libcoap(base, "/create1", "-m", "put", "-e", "x", "-O", "5,")[-1].code for _ in range(2)]
    assert codes == ["2.01", "4.12"]


@pytest.mark.parametrize(
    "size", [pytest.param(64, id="block_01"), pytest.param(None, id="block_02"), pytest.param(16, id="block_06")]
)
def test_libcoap_block_01_02_06(base: str, size: int | None, tmp_path: Path) -> None:
    got = tmp_path / "got"
    pdus = without_challenge(libcoap(base, "/large", *([] if size is None else ["-b", str(size)]), "-o", got))
    assert got.read_bytes() == LARGE
    blocks = [option for pdu in pdus if pdu.code == "2.05" for option in pdu.options if option.startswith("Block2:")]
    # Unless the client says a size the server chooses it: small for a stranger whose request pays for no more.
    size = size or int(blocks[0].rpartition("/")[2])
    count = -(-len(LARGE) // size)
    assert blocks == [f"Block2:{number}/{'M' if number < count - 1 else '_'}/{size}" for number in range(count)]


def test_libcoap_block_03_04_05(base: str, tmp_path: Path) -> None:
    body, got = tmp_path / "body", tmp_path / "got"
    body.write_bytes(LARGE[::-1])
    put = libcoap(base, "/large-update", "-m", "put", "-b", "64", "-t", "0", "-f", body)
    codes = [pdu.code for pdu in put if pdu.type == "ACK"]
    assert codes == ["2.31"] * 31 + ["2.04"]
    libcoap(base, "/large-update", "-o", got)
    assert got.read_bytes() == LARGE[::-1]
    created = libcoap(base, "/large-create", "-m", "post", "-b", "512", "-t", "0", "-f", body)[-1]
    assert created.code == "2.01"
    place = "/".join(option.removeprefix("Location-Path:") for option in created.options if "Location-Path" in option)
    assert place.count("/") == 1
    libcoap(base, f"/{place}", "-o", got)
    assert got.read_bytes() == LARGE[::-1]
    libcoap(base, "/large-post", "-m", "post", "-b", "1024", "-t", "0", "-f", body, "-o", got)
    assert got.read_bytes() == LARGE[::-1].upper()


@pytest.mark.parametrize("name", FILTERS)
def test_libcoap_links(base: str, name: str, tmp_path: Path) -> None:
    got = tmp_path / "got"
    query = f"?{FILTERS[name]}" if FILTERS[name] else ""
    pdus = without_challenge(libcoap(base, f"/.well-known/core{query}", "-o", got))
    assert {pdu.code for pdu in pdus if pdu.type == "ACK"} == {"2.05"}
    assert "Content-Format:application/link-format" in pdus[-1].options
    targets = {link.target for link in parse_links(got.read_bytes())}
    assert targets == FOUND[name] if name in FOUND else targets >= FOUND["link_08"] | {"/test", "/path"}


def watching(base: str, path: str, start: Callable[..., Program], *arguments: str) -> Program:
    return start(program("coap-client-notls"), "-U", "-v", "7", *arguments, f"{base}{path}")


@pytest.mark.parametrize("kind", [pytest.param("CON", id="obs_01"), pytest.param("NON", id="obs_02")])
def test_libcoap_obs_01_02_09_12(base: str, kind: str, start: Callable[..., Program]) -> None:
    """Values that are put arrive; after its time it deregisters, and hears no more."""
    observer = watching(base, "/obs", start, "-s", "4", *(["-N"] if kind == "NON" else []))
    observer.wait_for(r"2\.05 .*Observe:.*'0'")
    for value in ("1", "2"):
        assert libcoap(base, "/obs", "-m", "put", "-t", "0", "-e", value)[-1].code == "2.04"
        observer.wait_for(rf"Observe:.*'{value}'")
    assert observer.wait_for_end() == 0
    pdus = shown(observer.output)
    registered = next(pdu for pdu in pdus if "Observe:0" in pdu.options)
    farewell = next(pdu for pdu in pdus if "Observe:1" in pdu.options)
    assert farewell.token == registered.token
    notifications = [pdu for pdu in pdus if pdu.code == "2.05" and any("Observe" in one for one in pdu.options)]
    assert {pdu.token for pdu in notifications} == {registered.token}
    numbers = [int(one.partition(":")[2]) for pdu in notifications for one in pdu.options if one.startswith("Observe:")]
    assert numbers == sorted(numbers)
    if kind == "CON":
        assert {pdu.type for pdu in notifications[1:]} == {"CON"}


@pytest.mark.parametrize("case", [pytest.param("delete", id="obs_07"), pytest.param("put", id="obs_08")])
def test_libcoap_obs_07_and_08(base: str, case: str, start: Callable[..., Program]) -> None:
    observer = watching(base, "/obs", start, "-s", "30")
    observer.wait_for(r"2\.05 .*Observe:.*'0'")
    libcoap(base, "/obs", "-m", case, *(["-t", "41", "-e", "<x/>"] if case == "put" else []))
    code = re.escape("4.04" if case == "delete" else "4.06")
    assert "Observe" not in observer.wait_for(rf"^v:1 t:CON c:{code} .*$")[0]


@pytest.mark.parametrize("path", [pytest.param("/obs-large", id="obs_13"), pytest.param("/obs-pumping", id="obs_14")])
def test_libcoap_obs_13_and_14(base: str, path: str, start: Callable[..., Program]) -> None:
    observer = watching(base, path, start, "-s", "30", "-w")
    observer.wait_for(r"Block2:0/M/1024")
    observer.wait_for(r"Block2:1/_/1024")
    value = "a few bytes" if path == "/obs-pumping" else "B" * 2000
    libcoap(base, path, "-m", "put", "-t", "0", "-b", "1024", "-e", value)
    if path == "/obs-pumping":
        assert "Block2" not in observer.wait_for(r"Observe:.*'a few bytes'")[0]
    else:
        observer.wait_for(r"^v:1 t:CON c:2\.05 .*Observe.*Block2:0/M/1024.*'B{1000}")
        observer.wait_for(r"Block2:1/_/1024.*'B{900}")


# libcoap's server.


@real
async def _ask_libcoap(base: str) -> None:
    async with Context.client() as coap:
        root = await coap.get(f"{base}/")  # CORE_01
        assert root.code == Code.CONTENT
        assert root.payload.startswith(b"This is a test server")
        path = f"{base}/seg1/seg2/seg3"  # CORE_03, 13
        assert (await coap.put(path, b"hello", content_format=0)).code == Code.CREATED
        assert (await coap.put(path, b"again", content_format=0)).code == Code.CHANGED
        assert (await coap.get(path)).payload == b"again"
        assert (await coap.get(path, confirmable=False)).payload == b"again"  # CORE_05
        assert (await coap.put(path, b"third", content_format=0, confirmable=False)).code == Code.CHANGED  # CORE_07
        assert (await coap.delete(path)).code == Code.DELETED  # CORE_02
        assert (await coap.get(path)).code == Code.NOT_FOUND
        for confirmable in (True, False):  # CORE_09, 11, 17
            separate = await coap.get(f"{base}/async?1", confirmable=confirmable, timeout=20)
            assert separate.payload == b"done"
        assert (await coap.get(f"{base}/time?ticks")).payload.isdigit()  # CORE_14
        await coap.ping(base)  # CORE_31
        for exponent in (2, 0):  # BLOCK_01, 06, 03
            wish = Block(0, more=False, size_exponent=exponent)
            request = Message(Code.GET, uri=f"{base}/example_data", block2=wish)
            assert len((await coap.request(request).response).payload) == 1500
        assert (await coap.put(f"{base}/stored", LARGE, content_format=0)).code == Code.CREATED
        assert (await coap.get(f"{base}/stored")).payload == LARGE


def test_our_client_and_libcoap_core_and_block(libcoap_server: Callable[..., tuple[Program, int]]) -> None:
    _, port = libcoap_server("notls")
    _ask_libcoap(f"coap://127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param("", {"/", "/time", "/async", "/example_data"}, id="link_01"),
        pytest.param("?rt=ticks", {"/time"}, id="link_02"),
        pytest.param("?rt=*", {"/time"}, id="link_03"),
        pytest.param("?if=cl*", {"/time"}, id="link_05"),
        pytest.param("?href=/async", {"/async"}, id="link_07"),
    ],
)
def test_our_client_and_libcoap_links(
    query: str, found: set[str], libcoap_server: Callable[..., tuple[Program, int]]
) -> None:
    @real
    async def discover() -> None:
        async with Context.client() as coap:
            answer = await coap.get(f"coap://127.0.0.1:{port}/.well-known/core{query}")
            assert (answer.code, answer.options.content_format) == (Code.CONTENT, 40)
            assert {link.target for link in parse_links(answer.payload)} == found

    _, port = libcoap_server("notls")
    discover()


def test_our_client_and_libcoap_obs_01_and_12(libcoap_server: Callable[..., tuple[Program, int]]) -> None:
    """It ticks; once deregistered it sends no more."""
    _, port = libcoap_server("notls", "-v", "7")

    @real
    async def observe() -> None:
        async with Context.client() as coap, asyncio.timeout(20):
            observation = coap.observe(f"coap://127.0.0.1:{port}/time")
            seen = [await anext(observation) for _ in range(3)]
            assert all(one.options.observe is not None for one in seen)
            await observation.aclose()

    observe()


# node-coap.


def node(*arguments: Any, options: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    command, environment = node_script("node_etsi.js")
    printed = run(*command, "ask", *arguments, json.dumps({"options": options or {}, **more}), environment=environment)
    answer = json.loads(printed)
    assert isinstance(answer, dict)
    return answer


@pytest.mark.parametrize("non", [False, True])
def test_node_client_core_01_to_08(base: str, non: bool) -> None:
    assert node("get", f"{base}/test", non=non)["payload"] == "this is a test"
    text = {"Content-Format": ""}
    assert node("put", f"{base}/test", options=text, payload="x", non=non)["code"] == "2.04"
    assert node("get", f"{base}/test", non=non)["payload"] == "x"
    created = node("post", f"{base}/test", options=text, payload="x", non=non)
    assert (created["code"], [bytes.fromhex(value) for _, value in created["options"]]) == (  # CORE_18
        "2.01", [b"location1", b"location2", b"location3"],
    )  # fmt: skip
    assert node("delete", f"{base}/test", non=non)["code"] == "2.02"


def test_node_client_core_09_to_23(base: str) -> None:
    assert node("get", f"{base}/separate")["payload"] == "separate"  # CORE_09
    assert node("get", f"{base}/seg1/seg2/seg3")["payload"] == "seg1/seg2/seg3"  # CORE_13
    assert node("get", f"{base}/query?first=1&second=2")["payload"] == "first=1&second=2"  # CORE_14
    located = node("post", f"{base}/location-query", payload="x")  # CORE_19
    assert [name for name, _ in located["options"]] == ["Location-Query"] * 2
    for accept, payload in (("", "text"), ("29", "<text/>")):  # CORE_20
        assert node("get", f"{base}/multi-format", options={"Accept": accept})["payload"] == payload
    codes = [node("put", f"{base}/create1", options={"If-None-Match": ""}, payload="x")["code"] for _ in range(2)]
    assert codes == ["2.01", "4.12"]  # CORE_23


def test_node_client_block_06(base: str) -> None:
    assert node("get", f"{base}/large", options={"Block2": ""})["payload"].encode() == LARGE


@pytest.mark.parametrize("name", FOUND)
def test_node_client_links(base: str, name: str) -> None:
    answer = node("get", f"{base}/.well-known/core?{FILTERS[name]}", options={"Block2": ""})
    assert answer["code"] == "2.05"
    assert {link.target for link in parse_links(answer["payload"])} == FOUND[name]


def test_our_client_and_node_coap(start: Callable[..., Program]) -> None:
    command, environment = node_script("node_etsi.js")
    port = free_ports()
    start(*command, "serve", str(port), environment=environment).wait_for("^ready")
    base = f"coap://127.0.0.1:{port}"

    @real
    async def ask() -> None:
        async with Context.client() as coap, asyncio.timeout(60):
            for confirmable in (True, False):  # CORE_01, 05
                test = await coap.get(f"{base}/test", confirmable=confirmable)
                assert (test.code, test.payload) == (Code.CONTENT, b"this is a test")
            assert (await coap.put(f"{base}/test", b"x", content_format=0)).code == Code.CHANGED  # CORE_03
            created = await coap.post(f"{base}/test", b"x", content_format=0)  # CORE_04, 18
            assert created.code == Code.CREATED
            assert created.options.location_path == ("location1", "location2", "location3")
            assert (await coap.delete(f"{base}/test")).code == Code.DELETED  # CORE_02
            for confirmable in (True, False):  # CORE_09, 11, 17
                assert (await coap.get(f"{base}/separate", confirmable=confirmable)).payload == b"separate"
            assert (await coap.get(f"{base}/seg1/seg2/seg3")).payload == b"seg1/seg2/seg3"  # CORE_13
            assert (await coap.get(f"{base}/query?first=1&second=2")).payload == b"first=1&second=2"  # CORE_14
            for accept, payload in ((0, b"text"), (41, b"<text/>")):  # CORE_20
                answer = await coap.get(f"{base}/multi-format", accept=accept)
                assert (answer.options.content_format, answer.payload) == (accept, payload)
            wish = Block(0, more=False, size_exponent=2)  # BLOCK_01, 02
            assert (await coap.request(Message(Code.GET, uri=f"{base}/large", block2=wish)).response).payload == LARGE
            assert (await coap.get(f"{base}/large")).payload == LARGE
            observation = coap.observe(f"{base}/obs")  # OBS_01, 10, 12
            assert (await anext(observation)).payload == b"0"
            assert (await coap.get(f"{base}/obs")).options.observe is None
            assert (await coap.put(f"{base}/obs", b"1", content_format=0)).code == Code.CHANGED
            assert (await anext(observation)).payload == b"1"
            await observation.aclose()

    ask()
