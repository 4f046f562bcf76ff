"""``serve --files`` as it is deployed: directories and paths, the configuration file, and devices that read and write."""

from __future__ import annotations

import json
import sys

import pytest
from support.processes import Program

from securecoap.cli.sites import SiteFault, file_site
from securecoap.config import Limits

LARGE = bytes(number % 251 for number in range(100_000))
SECRET = b"what stands outside of the root"
PSK = {"hex": "70d634576ed8c60fac270a44780f754a"}
OSCORE = {"secret": {"hex": "816e561b1b290b51ae25368f4ac8a9a6"}, "salt": {"hex": "64fcb9f4fe984759"}}


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "www"
    (root / "firmware").mkdir(parents=True)
    (root / "hello.txt").write_bytes(b"hello")
    (root / "firmware" / "v1.bin").write_bytes(LARGE)
    (root / "out").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_bytes(SECRET)
    return root


def paths(site):
    return [link.target for link in site.links()]


def test_where_directories_are(root, tmp_path):
    (tmp_path / "a=b").mkdir()
    limits = Limits()
    assert paths(file_site([str(root)], limits)) == ["/"]
    assert paths(file_site([f"{root}=/"], limits)) == ["/"]
    assert paths(file_site([f"{root}=/a/b/"], limits)) == ["/a/b/"]
    assert paths(file_site([str(tmp_path / "a=b")], limits)) == ["/"]
    assert paths(file_site([f"{tmp_path / 'a=b'}=/c", f"{root}=/{{x}}"], limits)) == ["/c/", "/%7Bx%7D/"]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (["{root}/nothing"], "No such file"),
        (["{root}/hello.txt"], "Not a directory"),
        (["{root}=/a", "{root}=/a"], "taken"),
        (["{root}", "{root}=/"], "taken"),
        (["{root}=/a//b"], "empty segment"),
        (["{root}=/a/../b"], "segment"),
    ],
)
def test_what_cannot_be_served(root, values, complaint):
    with pytest.raises(SiteFault, match=complaint):
        file_site([value.format(root=root) for value in values], Limits())


def test_check_config(run, root, tmp_path):
    good = ["--bind", "coap://[::1]:0", "--check-config"]
    assert run("serve", "--files", root, *good)[:2] == (0, b"")
    assert run("serve", "--files", f"{root}=/a", "--files", f"{root}=/b", *good)[:2] == (0, b"")
    assert "No such file" in run("serve", "--files", root / "nothing", *good).err
    for more in (["--demo"], ["module:site"]):
        outcome = run("serve", "--files", root, *more, *good)
        assert (outcome.status, "--files" in outcome.err) == (2, True)
    path = tmp_path / "server.toml"
    for text, status in (
        ('files = "www"', 0),
        ('files = ["www=/", "www/firmware=/firmware"]', 0),
        ('files = "nothing"', 2),
        ('files = "www"\ndemo = true', 2),
        ("files = 1", 2),
    ):
        path.write_text(f'{text}\nbind = "coap://[::1]:0"\n[limits]\nfree-disk-bytes = 0\n')
        assert run("serve", "--config", path, "--check-config").status == status, text


@pytest.fixture
def served(root, tmp_path):
    """The files with a policy: everybody known reads, one device writes below /files/inbox/ and /files/firmware/."""
    (root / "inbox").mkdir()
    (root / "inbox" / "out").symlink_to(tmp_path / "secret")
    server = tmp_path / "server.json"
    writing = {"any-of": [":gateway"], "methods": ["PUT", "DELETE"]}
    server.write_text(
        json.dumps({
            ":sensor": {"dtls": {"client-identity": {"ascii": "sensor"}, "psk": PSK}},
            ":gateway": {"oscore": {**OSCORE, "sender-id": {"hex": "01"}, "recipient-id": {"hex": "12"}}},
            "coap*://*/files/inbox/*": writing,
            "coap*://*/files/firmware/*": writing,
            "coap*://*/files/hello.txt": {"unprotected": True, "methods": ["GET"]},
        })
    )  # fmt: skip
    (tmp_path / "server.toml").write_text(
        'files = "www=/files"\ncredentials = "server.json"\nstate = "state"\n'
        'bind = ["coap://[::1]:0", "coaps://[::1]:0"]\n[limits]\nfree-disk-bytes = 0\nbody-bytes = 200000\n'
    )
    command = [sys.executable, "-m", "securecoap", "serve", "--config", str(tmp_path / "server.toml")]
    program = Program(command, directory=tmp_path)
    try:
        coap = program.wait_for(r"listening (coap://[^\s\"]+)")[1]
        coaps = program.wait_for(r"listening (coaps://[^\s\"]+)")[1]
        devices = {}
        for name, entries in (
            ("sensor", {f"{coaps}/*": {"dtls": {"client-identity": {"ascii": "sensor"}, "psk": PSK}}}),
            (
                "gateway",
                {f"{coap}/*": {"oscore": {**OSCORE, "sender-id": {"hex": "12"}, "recipient-id": {"hex": "01"}}}},
            ),
        ):
            devices[name] = tmp_path / f"{name}.json"
            devices[name].write_text(json.dumps(entries))
        yield coap, coaps, devices["sensor"], devices["gateway"]
    finally:
        program.stop()


def test_devices_read_and_write(served, run, root, tmp_path):
    coap, coaps, sensor, gateway = served
    body = tmp_path / "body"
    body.write_bytes(LARGE[::-1])

    # Nobody.
    assert run("get", f"{coap}/files/hello.txt") == (0, b"hello", "")
    assert run("get", f"{coap}/files/firmware/v1.bin").err.startswith("securecoap: 4.01")
    assert run("put", f"{coap}/files/hello.txt", "--payload", "x").err.startswith("securecoap: 4.01")
    assert b"</files/>" in run("get", f"{coap}/.well-known/core").out

    # A device that reads, over DTLS.
    def over_dtls(method, path, *more):
        return run(method, f"{coaps}/files/{path}", "--credentials", sensor, *more)

    assert over_dtls("get", "firmware/v1.bin").out == LARGE
    assert over_dtls("get", "firmware/").out == b"</files/firmware/v1.bin>;ct=42;sz=100000"
    assert over_dtls("get", "firmware/v1.bin", "--accept", "json").err.startswith("securecoap: 4.06")
    for path in ("out", "secret", "%2e%2e/secret", "..%2fsecret", "inbox/%00", "inbox/..%2f..%2fsecret", ".git/config"):
        assert over_dtls("get", path).err.startswith("securecoap: 4.0"), path
    for method, path, code in (
        ("put", "inbox/new", "4.03"), ("delete", "firmware/v1.bin", "4.03"), ("put", "firmware/v1.bin", "4.03"),
        ("put", "new", "4.05"), ("delete", "hello.txt", "4.05"),
    ):  # fmt: skip
        outcome = over_dtls(method, path, *(["--payload", f"@{body}"] if method == "put" else []))
        assert outcome.err.startswith(f"securecoap: {code}"), (method, path, outcome)

    # One that may write, with OSCORE.
    def with_oscore(method, path, *more):
        return run(method, f"{coap}/files/{path}", "--credentials", gateway, "-v", *more)

    assert "2.01" in with_oscore("put", "firmware/v2.bin", "--payload", f"@{body}").err
    assert "2.04" in with_oscore("put", "firmware/v1.bin", "--payload", f"@{body}").err
    assert "4.05" in with_oscore("put", "new", "--payload", "x").err
    assert "4.03" in with_oscore("put", "inbox/out", "--payload", "x").err
    assert "4.03" in with_oscore("delete", "inbox/out").err
    body.write_bytes(bytes(300_000))
    assert "4.13" in with_oscore("put", "inbox/large", "--payload", f"@{body}").err
    assert "2.02" in with_oscore("delete", "firmware/v2.bin").err
    assert with_oscore("get", "firmware/v1.bin").out == LARGE[::-1]
    assert (root / "firmware" / "v1.bin").read_bytes() == LARGE[::-1]
    assert [path.name for path in (root / "firmware").iterdir()] == ["v1.bin"]
    assert [path.name for path in (root / "inbox").iterdir()] == ["out"]
    assert (tmp_path / "secret").read_bytes() == SECRET
