"""Files as resources at a real server: blocks, validation, listings, who may write, and what no path leads to."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from securecoap import Block, Code, Context, Files, Limits, Message, Site, TransportParameters
from securecoap.errors import ConfigurationError, TransferFailed
from securecoap.resources import files
from securecoap.resources.directory import Directory, is_name
from securecoap.resources.read_ahead import PART
from securecoap.wire.link_format import parse_links
from securecoap.workers.announcing import Announcing
from tests.loopback import real

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SECRET = b"what stands outside of the root"
LARGE = bytes(number % 251 for number in range(200_000))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"alpha")
    (root / "large.bin").write_bytes(LARGE)
    (root / "sub" / "b.json").write_bytes(b"{}")
    (root / ".hidden").write_bytes(SECRET)
    (root / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_bytes(SECRET)
    return root


def psk(name: str, key: int, **more: Any) -> dict[str, Any]:
    return {"dtls": {"client-identity": {"ascii": name}, "psk": {"hex": f"{key:032x}"}}, **more}


DEVICES: dict[str, Any] = {":writer": psk("writer", 1), ":reader": psk("reader", 2)}
RULE = {"any-of": [":writer"], "methods": ["PUT", "DELETE"]}


class Bench:
    """A server with files at ``/files/``, and clients."""

    def __init__(self, server: Context, coap: Context, site: Site, state: Path) -> None:
        self.server, self.coap, self.site = server, coap, site
        self.uri = next(uri for uri in server.endpoints if uri.startswith("coap:"))
        self.secure = next((uri for uri in server.endpoints if uri.startswith("coaps:")), "")
        self.clients: list[Context] = []
        self._state = state

    async def device(self, name: str) -> Context:
        key = 1 + ["writer", "reader"].index(name)
        client = Context.client({"coaps://*": psk(name, key)}, state=self._state)
        await client.start()
        self.clients.append(client)
        return client


@asynccontextmanager
async def serving(
    root: Path,
    policy: dict[str, Any] | None = None,
    *,
    mount: str = "/files",
    limits: Limits | None = None,
    **more: Any,
) -> AsyncIterator[Bench]:
    limits = limits or Limits(free_disk_bytes=0)
    site = Site()
    site.add(mount, Files(root, limits=limits))
    credentials = None if policy is None else {**DEVICES, **policy}
    state = root.parent / "state"
    server = Context.server(
        site, bind=["coap://127.0.0.1:0", *([] if policy is None else ["coaps://127.0.0.1:0"])],
        credentials=credentials, state=state / "server", limits=limits, **more,
    )  # fmt: skip
    async with server, Context.client() as coap:
        bench = Bench(server, coap, site, state / "client")
        try:
            yield bench
        finally:
            for client in bench.clients:
                await client.shutdown()


def raw(*segments: bytes, code: int = 1, options: bytes = b"") -> bytes:
    """A request with these very segments: no client in between that makes sense of them."""
    parts = []
    for number, segment in enumerate(segments):
        delta = 11 if number == 0 else 0
        length = len(segment)
        extended = b"" if length < 13 else bytes([length - 13]) if length < 269 else struct.pack("!H", length - 269)
        parts.append(bytes([delta << 4 | (length if length < 13 else 13 if length < 269 else 14)]) + extended + segment)
    return b"\x41" + bytes([code]) + os.urandom(2) + b"t" + b"".join(parts) + options


async def exchange(uri: str, *datagrams: bytes) -> list[Message]:
    """What the server answers to datagrams of a stranger."""
    loop = asyncio.get_running_loop()
    answers = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", int(uri.rpartition(":")[2])))
        for datagram in datagrams:
            await loop.sock_sendall(sock, datagram)
            async with asyncio.timeout(30):
                answer = Message.decode(await loop.sock_recv(sock, 4096))
                while answer.code == Code.EMPTY:  # a separate response follows
                    answer = Message.decode(await loop.sock_recv(sock, 4096))
                answers.append(answer)
    return answers


# Reading.


@real
async def test_files_of_every_size(root: Path) -> None:
    async with serving(root) as bench:
        for size in (0, 1, 1023, 1024, 1025, 2048, PART - 1, PART, PART + 1, PART + 1024, 200_000):
            (root / "some").write_bytes(LARGE[:size])
            answer = await bench.coap.get(f"{bench.uri}/files/some")
            assert (answer.code, answer.payload) == (Code.CONTENT, LARGE[:size])
            assert answer.options.content_format == 42
            assert answer.options.etag is not None


@pytest.mark.parametrize("exponent", [0, 2, 5, 6])
@real
async def test_blocks_of_every_size(root: Path, exponent: int) -> None:
    (root / "some").write_bytes(LARGE[:5000])
    async with serving(root) as bench:
        wish = Block(0, more=False, size_exponent=exponent)
        assert (await bench.coap.get(f"{bench.uri}/files/some", block2=wish)).payload == LARGE[:5000]
    async with serving(root, parameters=TransportParameters(block_size=16 << exponent)) as bench:
        assert (await bench.coap.get(f"{bench.uri}/files/some")).payload == LARGE[:5000]


@real
async def test_a_block_by_itself(root: Path) -> None:
    async with serving(root) as bench:
        uri = f"{bench.uri}/files/large.bin"
        answer = await bench.coap.get(uri, block2=Block(150, False, 6))
        assert answer.payload == LARGE[150 * 1024 : 151 * 1024]
        assert answer.options.block2 == Block(150, True, 6)
        answer = await bench.coap.get(uri, block2=Block(195, False, 6))
        assert (answer.payload, answer.options.block2) == (LARGE[195 * 1024 :], Block(195, False, 6))
        for number in (196, 0xFFFFF):
            assert (await bench.coap.get(uri, block2=Block(number, False, 6))).code == Code.BAD_REQUEST
        assert (await bench.coap.get_range(uri, 99_990, 100_010)).payload == LARGE[99_990:100_010]


@real
async def test_not_the_whole_file_for_each_block(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    pread = os.pread

    def counting(file: int, size: int, start: int) -> bytes:
        read.append(size)
        return pread(file, size, start)

    monkeypatch.setattr(os, "pread", counting)
    async with serving(root) as bench:
        await bench.coap.get(f"{bench.uri}/files/large.bin", block2=Block(150, False, 6))
        assert read == [PART]
        assert (await bench.coap.get(f"{bench.uri}/files/large.bin")).payload == LARGE
    assert len(read) < 50  # of 196 blocks; 5 unless the machine is very slow


@real
async def test_a_stranger_gets_small_blocks_and_no_more_than_three_times_what_it_sent(root: Path) -> None:
    async with serving(root) as bench:
        request = raw(b"files", b"large.bin")
        (first,) = await exchange(bench.uri, request)
        block = first.options.block2
        assert block is not None
        assert (block.number, block.more) == (0, True)
        assert block.size_exponent < 6
        assert (first.payload, first.options.size2) == (LARGE[: block.size], len(LARGE))
        assert len(first.payload) < 3 * len(request) + 64


@real
async def test_content_formats(root: Path) -> None:
    for name in ("x.TXT", "x.cbor", "x.unknown", "x", "x.", "x.json.gz", "x.senmlc", "x.hex"):
        (root / name).write_bytes(b"x")
    async with serving(root) as bench:
        for name, number in (
            ("x.TXT", 0), ("x.cbor", 60), ("x.unknown", 42), ("x", 42), ("x.", 42), ("x.json.gz", 42), ("x.senmlc", 112),
            ("sub/b.json", 50),
        ):  # fmt: skip
            answer = await bench.coap.get(f"{bench.uri}/files/{name}")
            assert answer.options.content_format == number, name
            assert (await bench.coap.get(f"{bench.uri}/files/{name}", accept=number)).code == Code.CONTENT
            assert (await bench.coap.get(f"{bench.uri}/files/{name}", accept=61)).code == Code.NOT_ACCEPTABLE
        bench.site.add("/more", Files(root, content_formats={".HEX": "text/plain", "json": "senml+json"}))
        assert (await bench.coap.get(f"{bench.uri}/more/x.hex")).options.content_format == 0
        assert (await bench.coap.get(f"{bench.uri}/more/sub/b.json")).options.content_format == 110


@real
async def test_conditional_requests(root: Path) -> None:
    async with serving(root) as bench:
        for path in ("a.txt", "large.bin", "sub/"):
            uri = f"{bench.uri}/files/{path}"
            etag = (await bench.coap.get(uri)).options.etag
            answer = await bench.coap.get(uri, etags=[b"other", etag])
            assert (answer.code, answer.payload, answer.options.etag) == (Code.VALID, b"", etag)
            assert (await bench.coap.get(uri, etags=[b"other"])).code == Code.CONTENT
            assert (await bench.coap.get(uri, if_match=[etag])).code == Code.CONTENT
            assert (await bench.coap.get(uri, if_match=[b""])).code == Code.CONTENT
            assert (await bench.coap.get(uri, if_match=[b"other"])).code == Code.PRECONDITION_FAILED
            assert (await bench.coap.get(uri, if_none_match=True)).code == Code.PRECONDITION_FAILED
        (root / "sub" / "new").write_bytes(b"")
        assert (await bench.coap.get(f"{bench.uri}/files/sub/", etags=[etag])).code == Code.CONTENT


# Changes meanwhile.


@real
async def test_a_file_that_changes_while_it_is_fetched_is_never_mixed(root: Path) -> None:
    """Whatever arrives as a whole is one state: the file is replaced, and written in place, all the time."""
    size = 3 * PART + 100
    path = root / "moving"
    path.write_bytes(b"0" * size)
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.wait(0.02):
            number += 1
            body = bytes([48 + number % 75]) * size
            beside = root / ".beside"
            beside.write_bytes(body)
            beside.replace(path)

    thread = threading.Thread(target=change)
    thread.start()
    whole = set()
    try:
        async with serving(root) as bench:
            for _ in range(5):
                try:
                    answer = await bench.coap.get(f"{bench.uri}/files/moving", timeout=30)
                except TransferFailed:
                    continue  # it changed each time that it was begun again
                if answer.code == Code.CONTENT:
                    assert len(answer.payload) == size
                    assert len(set(answer.payload)) == 1
                    whole.add(answer.payload[:1])
                else:
                    assert answer.code == Code.SERVICE_UNAVAILABLE
            stop.set()
            thread.join()
            assert len((await bench.coap.get(f"{bench.uri}/files/moving")).payload) == size
    finally:
        stop.set()
        thread.join()


@real
async def test_every_block_says_of_which_state_it_is(root: Path) -> None:
    path = root / "large.bin"
    async with serving(root) as bench:
        uri = f"{bench.uri}/files/large.bin"
        first = await bench.coap.get(uri, block2=Block(70, False, 6))
        tags = {first.options.etag: LARGE}
        other = LARGE[::-1]
        (root / "beside").write_bytes(other)
        (root / "beside").replace(path)
        later = await bench.coap.get(uri, block2=Block(100, False, 6))  # was read ahead, or is of the new file
        tags.setdefault(later.options.etag, other)
        assert later.payload == tags[later.options.etag][100 * 1024 : 101 * 1024]
        fresh = await bench.coap.get(uri)
        assert fresh.options.etag != first.options.etag
        assert fresh.payload == other


# Directories.


@real
async def test_listings(root: Path) -> None:
    (root / "a b,<ü>.txt").write_bytes(b"123")
    async with serving(root) as bench:
        answer = await bench.coap.get(f"{bench.uri}/files/")
        assert (answer.code, answer.options.content_format) == (Code.CONTENT, 40)
        assert answer.payload.decode() == (
            "</files/a%20b,%3C%C3%BC%3E.txt>;ct=0;sz=3,</files/a.txt>;ct=0;sz=5,</files/large.bin>;ct=42;sz=200000,"
            "</files/sub/>;ct=40"
        )
        for link in parse_links(answer.payload):
            assert (await bench.coap.get(bench.uri + link.target)).code == Code.CONTENT
        answer = await bench.coap.get(f"{bench.uri}/files/sub/")
        assert answer.payload == b"</files/sub/b.json>;ct=50;sz=2,</files/sub/deep/>;ct=40"
        assert (await bench.coap.get(f"{bench.uri}/files/sub/deep/")).payload == b""
        assert (await bench.coap.get(f"{bench.uri}/files/?href=/files/s*")).payload == b"</files/sub/>;ct=40"
        assert (await bench.coap.get(f"{bench.uri}/files/?=")).code == Code.BAD_REQUEST
        assert (await bench.coap.get(f"{bench.uri}/files/", accept=50)).code == Code.NOT_ACCEPTABLE
        for path in ("/files", "/files/sub"):
            answer = await bench.coap.get(bench.uri + path)
            assert (answer.code, b"slash" in answer.payload) == (Code.NOT_FOUND, True)
        for path in ("/files//", "/files/sub//", "/files/a.txt/", "/files/nothing/", "/files/link/", "/files//a.txt"):
            assert (await bench.coap.get(bench.uri + path)).code == Code.NOT_FOUND


@real
async def test_the_event_loop_makes_no_listing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a directory with as many entries as there may be it would be held up for a fifth of a second."""
    makers = []

    def watched(make: Any) -> Any:
        def called(*given: Any) -> Any:
            makers.append(threading.current_thread())
            return make(*given)

        return called

    for name in ("filter_links", "write_links"):
        monkeypatch.setattr(files, name, watched(getattr(files, name)))
    async with serving(root) as bench:
        assert (await bench.coap.get(f"{bench.uri}/files/?href=/files/s*")).payload == b"</files/sub/>;ct=40"
    assert len(makers) == 2
    assert threading.main_thread() not in makers


@real
async def test_a_large_listing_has_its_bound(root: Path) -> None:
    for number in range(300):
        (root / "sub" / f"file-with-a-long-name-{number:05}").write_bytes(b"")
    async with serving(root) as bench:
        links = parse_links((await bench.coap.get(f"{bench.uri}/files/sub/")).payload)
        assert len(links) == 302
    async with serving(root, limits=Limits(directory_entries=100)) as bench:
        assert (await bench.coap.get(f"{bench.uri}/files/sub/")).code == Code.FORBIDDEN
        assert (await bench.coap.get(f"{bench.uri}/files/sub/b.json")).code == Code.CONTENT


@pytest.mark.parametrize(("mount", "root_path"), [("/", "/"), ("/files", "/files/"), ("/deep/down", "/deep/down/")])
@real
async def test_the_root_is_discovered(root: Path, mount: str, root_path: str) -> None:
    async with serving(root, mount=mount) as bench:
        links = parse_links((await bench.coap.get(f"{bench.uri}/.well-known/core")).payload)
        (link,) = [link for link in links if link.target == root_path]
        assert dict(link.attributes) == {"ct": "40", "obs": None}
        answer = await bench.coap.get(bench.uri + root_path)
        assert root_path.encode() + b"a.txt>" in answer.payload
        (again,) = await exchange(bench.uri, raw(*[one.encode() for one in root_path.split("/")[1:]]))
        assert again.code == Code.CONTENT


# Where no path leads.

ATTACKS: list[tuple[bytes, ...]] = [
    (b"..", b"secret"), (b".", b"a.txt"), (b"sub", b"..", b"a.txt"), (b"sub", b"..", b"..", b"secret"), (b"..",), (b".",),
    (b"../secret",), (b"sub/b.json",), (b"/etc/passwd",), (b"", b"etc", b"passwd"), (b"", b"a.txt"), (b"sub", b"", b"b.json"),
    (b"a.txt", b""), (b"a.txt\0",), (b"\0",), (b"a.txt\0.json",), (b"%2e%2e", b"secret"), (b"%2e%2e%2fsecret",),
    (b"sub%2fb.json",), (b"..%2fsecret",), (b"..\\secret",), (b"..;", b"secret"), ("\uff0e\uff0e".encode(), b"secret"),
    ("\u2024\u2024".encode(), b"secret"), (b"link",), (b"link", b"x"), (b".hidden",), (b"sub", b".hidden"), (b"x" * 255,),
    (b"~root",), (b"proc", b"self", b"environ"), (b"A.TXT",), (b"fifo",), (b"...", b"secret"),
]  # fmt: skip


REFUSED = {Code.NOT_FOUND, Code.BAD_OPTION}  # "." and ".." are no values of Uri-Path (RFC 7252 section 5.10.1)


@pytest.mark.parametrize("mount", ["/files", "/"])
@real
async def test_what_no_path_leads_to(root: Path, mount: str) -> None:
    """Uri-Path options as an attacker writes them, in every method, also where the policy allows to write."""
    os.mkfifo(root / "fifo")
    methods = ["GET", "PUT", "DELETE", "POST", "FETCH", "PATCH", "IPATCH"]
    before = sorted(os.listdir(root.parent))  # noqa: PTH208  # names only
    within = sorted(os.listdir(root / "sub"))  # noqa: PTH208  # as above
    prefix = () if mount == "/" else (b"files",)
    async with serving(root, {"coap://*/*": {"unprotected": True, "methods": methods}}, mount=mount) as bench:
        for attack in ATTACKS:
            (answer,) = await exchange(bench.uri, raw(*prefix, *attack))
            assert answer.code in REFUSED, attack
            assert SECRET not in answer.payload
            for code in (2, 5, 6, 7):
                (answer,) = await exchange(bench.uri, raw(*prefix, *attack, code=code, options=b"\xffevil"))
                assert answer.code in {*REFUSED, Code.METHOD_NOT_ALLOWED}, attack
        for attack in ATTACKS:
            could_be = all(is_name(segment.decode()) for segment in attack)
            refused = {*REFUSED, Code.METHOD_NOT_ALLOWED} if not could_be else {*REFUSED, Code.FORBIDDEN}
            (answer,) = await exchange(bench.uri, raw(*prefix, *attack, code=3, options=b"\xffevil"))
            assert answer.code in refused or (could_be and len(attack) == 1 and answer.code == Code.CREATED), attack
            (answer,) = await exchange(bench.uri, raw(*prefix, *attack, code=4))
            assert answer.code in refused or (could_be and answer.code == Code.DELETED), attack
    assert sorted(os.listdir(root.parent)) == before  # noqa: PTH208  # as above
    assert sorted(os.listdir(root / "sub")) == within  # noqa: PTH208  # as above
    assert (root.parent / "secret").read_bytes() == SECRET
    assert (root / ".hidden").read_bytes() == SECRET
    assert (root / "a.txt").read_bytes() == b"alpha"


# Writing.


@pytest.mark.parametrize(
    ("policy", "codes"),
    [
        # no credentials; then of nobody, :reader and :writer, by PUT
        (None, [Code.METHOD_NOT_ALLOWED]),
        ({}, [Code.UNAUTHORIZED, Code.METHOD_NOT_ALLOWED, Code.METHOD_NOT_ALLOWED]),
        ({"*": {"unprotected": True}}, [Code.METHOD_NOT_ALLOWED] * 3),
        ({"coap*://*/files/*": ":writer"}, [Code.UNAUTHORIZED, Code.FORBIDDEN, Code.METHOD_NOT_ALLOWED]),
        ({"coap*://*/files/*": RULE}, [Code.UNAUTHORIZED, Code.FORBIDDEN, Code.CREATED]),
        ({"coap*://*/files/other*": RULE}, [Code.UNAUTHORIZED, Code.METHOD_NOT_ALLOWED, Code.METHOD_NOT_ALLOWED]),
        ({"coap*://*/files/*": {**RULE, "methods": ["DELETE"]}}, [Code.UNAUTHORIZED, *[Code.METHOD_NOT_ALLOWED] * 2]),
        ({"coap*://*/files/*": RULE, "coap*://*/files/new.txt": ":writer"},
         [Code.UNAUTHORIZED, Code.FORBIDDEN, Code.METHOD_NOT_ALLOWED]),
        ({"coap*://*/files/*": {"unprotected": True, "methods": ["PUT"]}}, [Code.CREATED, Code.CHANGED, Code.CHANGED]),
    ],
)  # fmt: skip
@real
async def test_who_may_write(root: Path, policy: dict[str, Any] | None, codes: list[Code]) -> None:
    async with serving(root, policy) as bench:
        clients = [(bench.coap, bench.uri)]
        if policy is not None:
            clients += [(await bench.device(name), bench.secure) for name in ("reader", "writer")]
        for (client, uri), code in zip(clients, codes, strict=True):
            assert (await client.put(f"{uri}/files/new.txt", b"new")).code is code
            assert (root / "new.txt").exists() is (code in {Code.CREATED, Code.CHANGED} or Code.CREATED in codes[:1])
            for method in (client.post, client.patch, client.ipatch, client.fetch):
                assert (await method(f"{uri}/files/a.txt", b"x")).code not in {Code.CHANGED, Code.CREATED, Code.CONTENT}
    assert (root / "a.txt").read_bytes() == b"alpha"


@real
async def test_a_method_that_is_not_named_is_not_opened_by_one_that_is(root: Path) -> None:
    async with serving(root, {"coap*://*/files/*": {**RULE, "methods": ["PUT"]}}) as bench:
        writer = await bench.device("writer")
        assert (await writer.put(f"{bench.secure}/files/a.txt", b"new")).code is Code.CHANGED
        assert (await writer.delete(f"{bench.secure}/files/a.txt")).code is Code.METHOD_NOT_ALLOWED
    assert (root / "a.txt").read_bytes() == b"new"


@real
async def test_writing(root: Path) -> None:
    async with serving(root, {"coap*://*/files/*": RULE, "coaps://*/*": {"any-of": [":writer"]}}) as bench:
        writer = await bench.device("writer")

        async def put(path: str, body: bytes, **options: Any) -> Code:
            code = (await writer.put(f"{bench.secure}/files/{path}", body, **options)).code
            assert isinstance(code, Code)
            return code

        async def get(path: str, **options: Any) -> Message:
            return await writer.get(f"{bench.secure}/files/{path}", **options)

        assert await put("new.txt", b"one") is Code.CREATED
        assert await put("new.txt", b"two", content_format="text") is Code.CHANGED
        assert (await get("new.txt")).payload == b"two"
        assert await put("new.txt", b"three", content_format="json") is Code.UNSUPPORTED_CONTENT_FORMAT
        assert await put("sub/deep/large", LARGE) is Code.CREATED
        assert (await get("sub/deep/large")).payload == LARGE
        etag = (await get("new.txt")).options.etag
        assert await put("new.txt", b"x", if_match=[b"other"]) is Code.PRECONDITION_FAILED
        assert await put("new.txt", b"x", if_none_match=True) is Code.PRECONDITION_FAILED
        assert await put("no.txt", b"x", if_match=[b""]) is Code.PRECONDITION_FAILED
        assert (await get("new.txt")).payload == b"two"
        assert await put("new.txt", b"four", if_match=[etag]) is Code.CHANGED
        assert await put("new.txt", b"five", if_match=[etag]) is Code.PRECONDITION_FAILED
        assert await put("large.txt", LARGE, if_none_match=True) is Code.CREATED
        assert await put("large.txt", LARGE, if_none_match=True) is Code.PRECONDITION_FAILED
        assert (await get("new.txt")).payload == b"four"
        assert await put("sub", b"x") is Code.METHOD_NOT_ALLOWED
        assert await put("sub/", b"x") is Code.METHOD_NOT_ALLOWED
        assert await put("nowhere/x", b"x") is Code.NOT_FOUND
        assert await put("link", b"x") is Code.FORBIDDEN
        assert await put("new.txt", bytes(2 << 20)) is Code.REQUEST_ENTITY_TOO_LARGE
        uri = f"{bench.secure}/files/new.txt"
        assert (await writer.delete(uri, if_match=[b"other"])).code is Code.PRECONDITION_FAILED
        assert (await writer.delete(uri)).code is Code.DELETED
        assert (await writer.delete(uri)).code is Code.DELETED  # RFC 7252 section 5.8.4
        assert (await get("new.txt")).code is Code.NOT_FOUND
        assert (await writer.delete(f"{bench.secure}/files/sub")).code is Code.METHOD_NOT_ALLOWED
    assert (root.parent / "secret").read_bytes() == SECRET
    assert not [name for name in os.listdir(root) if name.endswith(".part")]  # noqa: PTH208  # hidden ones, too


@real
async def test_uploads_of_two_clients_are_never_mixed(root: Path) -> None:
    async with serving(root, {"coap*://*/files/*": RULE, "coaps://*/*": {"any-of": [":writer"]}}) as bench:
        clients = [await bench.device("writer") for _ in range(3)]
        uri = f"{bench.secure}/files/shared"
        for _ in range(3):
            bodies = [bytes([65 + number]) * (20_000 + number) for number in range(len(clients))]
            answers = await asyncio.gather(*[one.put(uri, body) for one, body in zip(clients, bodies, strict=True)])
            assert {answer.code for answer in answers} <= {Code.CREATED, Code.CHANGED}
            assert (root / "shared").read_bytes() in bodies


@real
async def test_bounds_of_writing(root: Path) -> None:
    policy = {"coap*://*/files/*": RULE}
    for limits, code in (
        (Limits(free_disk_bytes=1 << 60), Code.SERVICE_UNAVAILABLE),
        (Limits(free_disk_bytes=0, directory_entries=3), Code.FORBIDDEN),
        (Limits(free_disk_bytes=0, body_bytes=1000), Code.REQUEST_ENTITY_TOO_LARGE),
        (Limits(free_disk_bytes=0, assembly_bytes=1000), Code.SERVICE_UNAVAILABLE),
    ):
        async with serving(root, policy, limits=limits) as bench:
            writer = await bench.device("writer")
            assert (await writer.put(f"{bench.secure}/files/new", bytes(3000))).code is code
    assert not (root / "new").exists()


@real
async def test_trouble_with_the_disk(root: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """The client is told to come back; the log has the cause, and not as often as clients ask."""

    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    async with serving(root, {"coap*://*/files/*": RULE}) as bench:
        writer = await bench.device("writer")
        monkeypatch.setattr(os, "fsync", fail)
        monkeypatch.setattr(os, "pread", fail)
        for _ in range(5):
            answer = await writer.put(f"{bench.secure}/files/a.txt", b"new")
            assert (answer.code, answer.payload) == (Code.SERVICE_UNAVAILABLE, b"")
            assert (await writer.get(f"{bench.secure}/files/a.txt")).code is Code.SERVICE_UNAVAILABLE
        monkeypatch.undo()
        assert (await writer.get(f"{bench.secure}/files/a.txt")).payload == b"alpha"
    assert [record.message for record in caplog.records if "broken" in record.message] == ["files: the disk is broken"]


@real
async def test_what_waits_to_be_written_is_bounded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs: what was taken is held, the rest is told to come back, and reading goes on."""
    goes_on = threading.Event()
    fsync = os.fsync

    def hang(file: int) -> None:
        goes_on.wait(60)
        fsync(file)

    monkeypatch.setattr(os, "fsync", hang)
    policy = {"coap*://*/files/*": RULE, "coaps://*/*": {"any-of": [":writer"]}}
    async with serving(root, policy, limits=Limits(free_disk_bytes=0, assembly_bytes=2000)) as bench:
        writer = await bench.device("writer")
        uri = f"{bench.secure}/files/"
        waiting = [asyncio.ensure_future(writer.put(f"{uri}{number}", bytes(900), timeout=60)) for number in range(3)]
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            (refused,) = done
            assert refused.result().code is Code.SERVICE_UNAVAILABLE
            assert (await writer.get(f"{uri}a.txt")).payload == b"alpha"
        finally:
            goes_on.set()
        assert [(await one).code for one in waiting if one is not refused] == [Code.CREATED] * 2
        assert (await writer.put(f"{uri}again", bytes(900))).code is Code.CREATED


@real
async def test_writes_that_nobody_waits_for_are_counted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that is used again ends the request before; what that was to do is done all the same, and waits."""
    goes_on = threading.Event()
    delete = Directory.delete

    def hang(*arguments: Any) -> bool:
        goes_on.wait(60)
        return delete(*arguments)

    monkeypatch.setattr(Directory, "delete", hang)
    policy = {"coap*://*/files/*": {"unprotected": True, "methods": ["DELETE"]}}
    async with serving(root, policy, limits=Limits(free_disk_bytes=0, assemblies=3), insecure=True) as bench:
        requests = [raw(b"files", b"%d" % number, code=4) for number in range(4)]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(("127.0.0.1", int(bench.uri.rpartition(":")[2])))
            try:
                for request in requests[:3]:
                    sock.send(request)
                    async with asyncio.timeout(30):
                        acknowledgement = await asyncio.get_running_loop().sock_recv(sock, 4096)
                    assert Message.decode(acknowledgement).code == Code.EMPTY  # it is being done
                (refused,) = await exchange(bench.uri, requests[3])
                assert refused.code is Code.SERVICE_UNAVAILABLE
            finally:
                goes_on.set()
        deleted = await bench.coap.delete(f"{bench.uri}/files/a.txt")
        while deleted.code is Code.SERVICE_UNAVAILABLE:  # the three are still being done
            deleted = await bench.coap.delete(f"{bench.uri}/files/a.txt")
        assert deleted.code is Code.DELETED


# Observers.


@real
async def test_observers_are_told_of_what_is_put(root: Path) -> None:
    async with serving(root, {"coap*://*/files/*": RULE, "coaps://*/*": {"any-of": [":writer"]}}) as bench:
        writer = await bench.device("writer")
        base = f"{bench.secure}/files"
        of_file, of_folder = writer.observe(f"{base}/a.txt"), writer.observe(f"{base}/sub/")
        assert (await anext(of_file)).payload == b"alpha"
        assert b"deep" in (await anext(of_folder)).payload
        await writer.put(f"{base}/a.txt", b"omega")
        assert (await anext(of_file)).payload == b"omega"
        await writer.put(f"{base}/a.txt", LARGE)
        assert (await anext(of_file)).payload == LARGE
        await writer.put(f"{base}/sub/new", b"")
        assert b"</files/sub/new>" in (await anext(of_folder)).payload
        await writer.delete(f"{base}/a.txt")
        assert (await anext(of_file)).code is Code.NOT_FOUND
        await of_folder.aclose()
        await of_file.aclose()
        entry = next(iter(bench.site._entries.values()))
        assert (await writer.get(f"{base}/a.txt")).code is Code.NOT_FOUND
        assert not entry.tree._observed  # type: ignore[union-attr]  # nobody observes, nothing is kept


@real
async def test_observers_at_another_process_are_told(root: Path) -> None:
    """Two servers with one directory, as ``--workers`` has them."""
    policy = {"coap*://*/files/*": RULE, "coaps://*/*": {"any-of": [":writer"]}}
    async with serving(root) as here, serving(root, policy) as there:
        here_told = Announcing(here.site, lambda _: pytest.fail("nothing changes here"))
        Announcing(there.site, here_told.announced)
        observation = here.coap.observe(f"{here.uri}/files/a.txt")
        assert (await anext(observation)).payload == b"alpha"
        writer = await there.device("writer")
        await writer.put(f"{there.secure}/files/a.txt", b"omega")
        assert (await anext(observation)).payload == b"omega"
        await observation.aclose()


@real
async def test_a_path_without_a_file_is_not_observed(root: Path) -> None:
    async with serving(root) as bench:
        observation = bench.coap.observe(f"{bench.uri}/files/nothing")
        assert (await anext(observation)).code is Code.NOT_FOUND
        await observation.aclose()
        entry = next(iter(bench.site._entries.values()))
        assert not entry.tree._observed  # type: ignore[union-attr]  # as above


@real
async def test_a_place_may_require_claims(root: Path) -> None:
    async with serving(root, {"coap*://*/more/*": RULE, "coaps://*/*": {"any-of": [":writer", ":reader"]}}) as bench:
        bench.site.add("/more", Files(root, limits=Limits(free_disk_bytes=0)), requires=":writer")
        for name, codes in (
            ("reader", (Code.FORBIDDEN, Code.FORBIDDEN)), ("writer", (Code.CONTENT, Code.CREATED)),
        ):  # fmt: skip
            client = await bench.device(name)
            assert (await client.get(f"{bench.secure}/more/large.bin")).code is codes[0]
            assert (await client.put(f"{bench.secure}/more/new", LARGE)).code is codes[1]
            bench.site.add(f"/{name}", Files(root), requires=":writer")  # of which the policy names no method
            assert (await client.put(f"{bench.secure}/{name}/new", b"")).code is Code.METHOD_NOT_ALLOWED


def test_a_root_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing"):
        Files(tmp_path / "nothing")
    with pytest.raises(ValueError, match="no-such"):
        Files(tmp_path, content_formats={"x": "no-such/format"})
