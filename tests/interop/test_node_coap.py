"""node-coap, an unrelated code base, both directions; it has no security."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.interop.harness import LARGE, Ours, node_script, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.processes import Program


def test_node_coap_and_our_server(ours: Ours, start: Callable[..., Program]) -> None:
    command, environment = node_script("node_client.js")
    base = f"coap://127.0.0.1:{ours.serve('coap')[1]['coap']}"
    assert run(*command, "get", f"{base}/hello", environment=environment) == "2.05 5 hello\n"
    assert run(*command, "get", f"{base}/large", environment=environment).startswith("2.05 65536 ")
    assert run(*command, "get", f"{base}/nothing", environment=environment).startswith("4.04 ")
    observer = start(*command, "observe", f"{base}/obs", environment=environment)
    observer.wait_for("00000")
    assert run(*command, "put", f"{base}/obs", "11111", environment=environment).startswith("2.04 ")
    observer.wait_for("11111")


def test_our_client_and_node_coap(ours: Ours, node_server: Callable[[], tuple[Program, int]], tmp_path: Path) -> None:
    peer, port = node_server()
    base = f"coap://127.0.0.1:{port}"
    assert ours.run("get", f"{base}/hello").stdout == b"hello"
    assert ours.run("get", f"{base}/large").stdout == LARGE
    body = tmp_path / "body"
    body.write_bytes(LARGE[:1000])  # it takes no bodies of several blocks whose tokens differ, as libcoap's do too
    assert ours.run("post", f"{base}/echo", "--payload", f"@{body}").stdout == LARGE[:1000]
    observer = ours.start("observe", f"{base}/obs")
    observer.wait_for("^00000$")
    assert ours.run("put", f"{base}/obs", "--payload", "11111").returncode == 0
    observer.wait_for("^11111$")
    assert observer.stop() == 0
    peer.wait_for("observe=1")
