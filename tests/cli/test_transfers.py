"""Bodies from and to files: what is on the disk when a transfer ends, in whatever way, and what is said about it."""

from __future__ import annotations

import asyncio
import os
import signal
import stat

import pytest

from securecoap import Context, Message, Resource, Site
from securecoap.cli.program import run as run_program
from securecoap.cli.transfers import Request, perform
from securecoap.errors import RequestTimeout, TransferFailed

LARGE = bytes(i % 251 for i in range(65536))
EARLIER = b"what was there before"


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "out"
    file.write_bytes(EARLIER)
    file.chmod(0o640)
    return file


def test_a_download_replaces_the_file_and_keeps_its_mode(demo, run, file):
    assert run("get", f"{demo.coap}/large", "-o", file) == (0, b"", "")
    assert file.read_bytes() == LARGE
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert list(file.parent.iterdir()) == [file]


def test_a_link_stays_a_link(demo, run, file):
    link = file.with_name("link")
    link.symlink_to(file)
    assert run("get", f"{demo.coap}/large", "-o", link).status == 0
    assert link.is_symlink()
    assert file.read_bytes() == LARGE


def test_a_download_to_a_device(demo, run):
    assert run("get", f"{demo.coap}/large", "-o", "/dev/null") == (0, b"", "")
    outcome = run("get", f"{demo.coap}/large", "-o", "/dev/full")
    assert outcome.status == 1
    assert "No space left on device" in outcome.err


def test_what_is_described_is_the_size_of_the_file(demo, run, file):
    assert "65536 bytes" in run("get", f"{demo.coap}/large", "-o", file, "-v").err


def test_an_upload_from_a_file_and_its_answer_to_a_file(demo, run, file, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(LARGE)
    assert run("post", f"{demo.coap}/echo", "--payload", f"@{body}", "-o", file) == (0, b"", "")
    assert file.read_bytes() == LARGE
    assert run("post", f"{demo.coap}/echo", "--payload", f"@{body}") == (0, LARGE, "")


def test_an_upload_of_small_blocks(demo, run, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(LARGE[:200])
    outcome = run("post", f"{demo.coap}/echo", "--payload", f"@{body}", "--block-size", 16)
    assert outcome == (0, LARGE[:200], "")


def test_an_empty_answer_is_an_empty_file(demo, run, file):
    uri = f"{demo.coap}/store/empty"
    for arguments in (["put", uri], ["get", uri], ["delete", uri]):
        file.write_bytes(EARLIER)
        assert run(*arguments, "-o", file).status == 0
        assert file.read_bytes() == b""


def test_an_error_response_changes_nothing(demo, run, file, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(LARGE[:3000])
    assert run("get", f"{demo.coap}/store/nothing-there", "-o", file).status == 1
    assert run("put", f"{demo.coap}/time", "--payload", f"@{body}", "-o", file).status == 1
    assert run("delete", f"{demo.coap}/time", "-o", file).status == 1
    assert file.read_bytes() == EARLIER


class Broken(Context):
    """Sends nothing: a transfer breaks off after some blocks, or hangs."""

    def __init__(self, error):
        self._error = error

    async def download(self, uri, to, *, progress, **_):
        progress(2048, 65536)
        if self._error is None:
            await asyncio.Event().wait()
        raise self._error


@pytest.mark.parametrize("error", [RequestTimeout("nobody"), TransferFailed("changed"), OSError(28, "full")])
def test_what_breaks_off_says_how_far_it_came(file, error):
    request = Request(method="get", uri="coap://h/x", output=str(file))
    with pytest.raises(type(error)) as caught:
        asyncio.run(perform(Broken(error), request))
    assert caught.value.__notes__ == [f"it came as far as 2048 of 65536 bytes; {file} is as it was"]
    assert file.read_bytes() == EARLIER


def test_what_is_interrupted_says_how_far_it_came(file, capsys):
    async def interrupted():
        task = asyncio.ensure_future(perform(Broken(None), Request(method="get", uri="coap://h/x", output=str(file))))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted())
    assert capsys.readouterr().err == f"securecoap: stopped at 2048 of 65536 bytes; {file} is as it was\n"


class Ending(Resource):
    """Its second block never comes: the request for it stops the command."""

    async def needs_blockwise_assembly(self, request):
        return False

    async def render_get(self, request):
        block = request.options.block2
        if block is not None and block.number:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()
        return Message(payload=LARGE)


def test_a_download_that_is_stopped_leaves_no_part(file, capfd):
    """Over a socket: the file as it was, no part beside it, and the exit status of a signal."""
    site = Site()
    site.add("/ending", Ending())
    ready: list[str] = []

    def serve(loop_ready, ended):
        async def main():
            async with Context.server(site, bind=["coap://[::1]:0"]) as server:
                ready.append(server.endpoints[0])
                loop_ready.set()
                await asyncio.to_thread(ended.wait)

        asyncio.run(main())

    import threading

    loop_ready, ended = threading.Event(), threading.Event()
    thread = threading.Thread(target=serve, args=(loop_ready, ended))
    thread.start()
    try:
        assert loop_ready.wait(30)
        assert run_program(["get", f"{ready[0]}/ending", "-o", str(file)]) == 128 + signal.SIGINT
    finally:
        ended.set()
        thread.join(30)
    assert "stopped at 1024" in capfd.readouterr().err
    assert file.read_bytes() == EARLIER
    assert list(file.parent.iterdir()) == [file]
