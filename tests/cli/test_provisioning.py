"""``credentials new``, ``pair``, ``add``, ``rotate``, ``revoke``, from the command line, with a look into both files."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import pytest

from securecoap import Context
from securecoap.credentials import CredentialsMap
from securecoap.dtls.certificates import CLIENT, SERVER, TrustStore, Verified
from securecoap.errors import CoapError
from tests.cli.conftest import start_demo
from tests.loopback import real

KINDS = ("dtls", "dtls-rpk", "dtls-x509", "oscore", "edhoc-oscore")
GET = 1


@pytest.fixture
def files(tmp_path):
    return tmp_path / "server.json", tmp_path / "device.json"


@pytest.fixture
def pair(run, files):
    def make(kind, *more, status=0):
        outcome = run(
            "credentials", "pair", kind, "sensor-17", "--server", files[0], "--device", files[1],
            "--uri", "coaps://gateway.example", *more,
        )  # fmt: skip
        assert (outcome.status, outcome.out) == (status, b""), outcome.err
        return outcome

    return make


def loaded(files):
    return CredentialsMap.load(files[0], role="server"), CredentialsMap.load(files[1], role="client")


def claims_of(files):
    """What the device proves to the server, with the keys that its file has now; ``None`` if it is a stranger."""
    server, device = loaded(files)
    scheme = next(name.partition("://")[0] for name in device.entries)
    chosen = device.select(scheme, "gateway.example", None, ("x",), GET, now=time.time())
    now = time.time()
    if chosen.oscore is not None and chosen.oscore.kind == "oscore":
        mine = chosen.oscore
        found = [
            one for one in server.find_oscore(mine.sender_id, mine.id_context, now)
            if (one.secret, one.salt, one.sender_id) == (mine.secret, mine.salt, mine.recipient_id)
        ]  # fmt: skip
        return found[0].claims if found else None
    if chosen.oscore is not None:
        peer = server.edhoc.by_kid(chosen.oscore.own.ccs.kid, now)
        assert server.edhoc.identity(now).ccs == chosen.oscore.peer
        return None if peer is None or peer.peer != chosen.oscore.own.ccs else peer.claims
    mine = chosen.dtls
    if mine.kind == "dtls":
        found = server.find_psk(mine.identity, now)
        return found.claims if found is not None and found.psk == mine.psk else None
    if mine.kind == "dtls-rpk":
        assert server.dtls_peers.raw_keys[0].public_key == mine.peer_keys[0][1]
        found = server.dtls_peers.find_raw_key(mine.public_key, now)
        return None if found is None else found.claims
    (own,) = server.dtls_peers.certificates
    shown = TrustStore(mine.authorities, SERVER).verify(own.certificates, now)
    assert isinstance(shown, Verified)
    assert shown.names == ("gateway.example",)
    if not server.dtls_peers.authorities:
        return None
    verified = TrustStore(server.dtls_peers.authorities, CLIENT).verify(mine.certificates, now)
    assert isinstance(verified, Verified)
    found = server.dtls_peers.find_certified(verified.anchor, verified.names, now)
    return None if found is None else found.claims


@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_fits_and_says_no_secret(pair, files, run, kind):
    outcome = pair(kind)
    assert claims_of(files)[-1] == ":sensor-17"
    for path in files:
        assert path.stat().st_mode & 0o777 == 0o600
        assert run("credentials", "check", path).status == 0
        for line in path.read_text().splitlines():
            for word in line.split('"'):
                assert len(word) < 16 or "://" in word or word not in outcome.err
    assert not [path for path in files[0].parent.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("kind", KINDS)
def test_two_devices_share_a_server_and_not_a_key(pair, files, run, kind):
    pair(kind, "--claims", "reader")
    other = files[1].with_name("other.json")
    outcome = run(
        "credentials", "pair", kind, ":sensor-18", "--server", files[0], "--device", other, "--uri", "gateway.example"
    )
    assert outcome.status == 0, outcome.err
    assert ":sensor-17" in claims_of(files)
    assert "reader" in claims_of(files)
    assert ":sensor-18" in claims_of((files[0], other))
    assert "reader" not in claims_of((files[0], other))


def test_raw_public_keys_have_their_own_claims_and_no_others(run, tmp_path):
    """Claims are those of an entry: who has the same ones stands in it, and nobody else, whoever wrote it."""
    server = tmp_path / "s.json"

    def claims(name, *wanted):
        device = tmp_path / f"{name}.json"
        outcome = run("credentials", "pair", "dtls-rpk", name, "--server", server, "--device", device, *wanted)
        assert outcome.status == 0, outcome.err
        return claims_of((server, device))

    assert claims("a", "--claims", "admin") == (":raw-public-keys", ":a", "admin")
    assert claims("b") == (":raw-public-keys-2", ":b")
    assert claims("c", "--claims", "admin", "--claims", "x") == (":raw-public-keys-3", ":c", "admin", "x")
    assert claims("d", "--claims", "admin") == (":raw-public-keys", ":d", "admin")
    content = json.loads(server.read_text())
    content[":raw-public-keys-2"]["not-after"] = "2999-01-01T00:00:00Z"
    content[":raw-public-keys-3"]["dtls-rpk"]["peer-keys"] = list(
        content[":raw-public-keys-3"]["dtls-rpk"]["peer-keys"].values()
    )
    server.write_text(json.dumps(content))
    assert claims("e") == (":raw-public-keys-4", ":e")
    assert claims("f", "--claims", "admin", "--claims", "x") == (":raw-public-keys-5", ":f", "admin", "x")
    assert run("credentials", "check", server).status == 0
    assert len({entry["dtls-rpk"]["private-key"]["base64"] for entry in json.loads(server.read_text()).values()}) == 1


def test_one_device_may_have_several_kinds(pair, files, run):
    pair("oscore")
    outcome = run(
        "credentials", "pair", "dtls", "sensor-17-dtls", "--server", files[0], "--device", files[1],
        "--uri", "coaps://gateway.example",
    )  # fmt: skip
    assert outcome.status == 0
    assert list(json.loads(files[1].read_text())) == ["coap://gateway.example/*", "coaps://gateway.example/*"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_taken_is_not_replaced(pair, files, kind):
    pair(kind)
    before = [path.read_bytes() for path in files]
    assert "sensor-17 is there already" in pair(kind, status=2).err or "has coap" in pair(kind, status=2).err
    assert [path.read_bytes() for path in files] == before


@pytest.mark.parametrize("kind", ["dtls", "oscore", "edhoc-oscore"])
def test_rotation(pair, files, run, kind):
    pair(kind, "--claims", "reader")
    server, device = files
    old = device.read_bytes()
    expected = claims_of(files)
    command = ("credentials", "rotate", "sensor-17", "--server", server, "--device", device)
    outcome = run(*command, "--overlap", "2h")
    assert outcome.status == 0, outcome.err
    assert device.read_bytes() != old
    new = device.read_bytes()
    assert claims_of(files) == expected
    device.write_bytes(old)
    assert claims_of(files) == expected
    ends = [one.validity.not_after for one in loaded(files)[0].credentials() if one.label == ":sensor-17"]
    assert min(ends) == pytest.approx(time.time() + 7200, abs=60)
    assert run(*command).status == 2
    assert run(*command, "--finish").status == 0
    assert claims_of(files) is None
    device.write_bytes(new)
    assert claims_of(files) == expected
    assert run(*command, "--finish").status == 2


def test_a_certificate_is_renewed(pair, files, run):
    pair("dtls-x509", "--days", "10")
    server, device = files
    before = server.read_bytes(), device.read_bytes()
    outcome = run("credentials", "rotate", "sensor-17", "--server", server, "--device", device)
    assert outcome.status == 0, outcome.err
    assert server.read_bytes() == before[0]
    assert device.read_bytes() != before[1]
    assert ":sensor-17" in claims_of(files)


def test_a_raw_public_key_is_not_rotated(pair, files, run):
    pair("dtls-rpk")
    outcome = run("credentials", "rotate", "sensor-17", "--server", files[0], "--device", files[1])
    assert outcome.status == 2
    assert "pair a new one" in outcome.err


def test_a_rotation_never_lengthens_a_life(pair, files, run):
    pair("dtls")
    content = json.loads(files[0].read_text())
    content[":sensor-17"]["not-after"] = "2001-01-01T00:00:00+02:00"
    files[0].write_text(json.dumps(content))
    assert run("credentials", "rotate", "sensor-17", "--server", files[0], "--device", files[1]).status == 0
    members = json.loads(files[0].read_text())[":sensor-17"]["any-of"]
    assert {member["not-after"] for member in members} == {"2001-01-01T00:00:00+02:00"}


def test_a_device_file_of_somebody_else(pair, files, run, write):
    pair("dtls")
    other = write({"coaps://*": {"dtls": {"client-identity": {"ascii": "x"}, "psk": {"hex": "00" * 16}}}}, "other.json")
    outcome = run("credentials", "rotate", "sensor-17", "--server", files[0], "--device", other)
    assert outcome.status == 2
    assert "no entry" in outcome.err


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rotated", [False, True])
def test_who_is_revoked_proves_nothing_and_references_stay(pair, files, run, kind, rotated):
    pair(kind)
    content = json.loads(files[0].read_text())
    files[0].write_text(
        json.dumps({**content, ":alias": ":sensor-17", "coap*://*/x": {"any-of": [":sensor-17", ":alias"]}})
    )
    if rotated and kind != "dtls-rpk":
        assert run("credentials", "rotate", "sensor-17", "--server", files[0], "--device", files[1]).status == 0
    outcome = run("credentials", "revoke", files[0], "sensor-17")
    assert (outcome.status, outcome.out) == (0, b""), outcome.err
    assert claims_of(files) is None
    server, _ = loaded(files)
    assert ":sensor-17" in server.entries
    assert not server.entries[":sensor-17"].node.validity.covers(time.time())
    assert run("credentials", "revoke", files[0], "sensor-17").status == 0
    for label in ("nobody", "alias"):
        assert run("credentials", "revoke", files[0], label).status == 2


@pytest.mark.parametrize("kind", KINDS)
def test_many_devices_from_a_table(run, tmp_path, kind):
    table = tmp_path / "devices.csv"
    rows = [f"d{n},reader writer" for n in range(300 if kind in ("dtls", "oscore") else 5)]
    table.write_text("label,claims\n" + "\n".join(rows))
    server, directory = tmp_path / "s.json", tmp_path / "devices"
    command = (
        "credentials",
        "pair",
        kind,
        "--csv",
        table,
        "--server",
        server,
        "--device-dir",
        directory,
        "--uri",
        "gateway.example",
    )
    assert run(*command).status == 0
    assert len(list(directory.iterdir())) == len(rows)
    claims = claims_of((server, directory / "d3.json"))
    assert ":d3" in claims
    assert claims[-2:] == ("reader", "writer")
    before = server.read_bytes()
    assert run(*command).status == 2
    assert server.read_bytes() == before


def test_a_table_with_a_fault_changes_nothing(run, tmp_path):
    table = tmp_path / "devices.csv"
    for text, says in (
        ("name\nx\n", ":1:"),
        ("label\na\n../b\n", ":3:"),
        ("label\na\n:a\n", ":3: :a is in line 2 already"),
        ("label,x\na,1\n,2\n", ":3: no label"),
        ("label\na\n\xff", ":3: not UTF-8"),
        (
            "label;claims\na;b\n",
            ":1: columns named label and, maybe, claims are expected, each once; they are separated by commas, not by semicolons",
        ),
        ("label\tclaims\na\tb\n", "not by tabulators"),
        ("", ":1: columns named label"),
        ('label\na\n"b\n', ":3: not a table"),
        ("label,psk.hex\na,00\n", ":1: pair makes new keys, and takes none from psk.hex; 'credentials add' does"),
    ):
        table.write_bytes(text.encode("latin-1"))
        outcome = run(
            "credentials", "pair", "dtls", "--csv", table, "--server", tmp_path / "s", "--device-dir", tmp_path / "d"
        )
        assert says in outcome.err
        assert f"{table}:" in outcome.err
        assert outcome.status == 2
        assert not (tmp_path / "s").exists()
        assert not list((tmp_path / "d").iterdir())


def test_a_table_as_spreadsheets_write_it(run, tmp_path):
    table = tmp_path / "devices.csv"
    table.write_bytes(b'\xef\xbb\xbflabel , "claims","place"\r\n"\xc3\xbcnten","a\r\nb",cellar\r\n\r\n:x\r\n')
    server, directory = tmp_path / "s.json", tmp_path / "d"
    outcome = run("credentials", "pair", "oscore", "--csv", table, "--server", server, "--device-dir", directory)
    assert outcome.status == 0, outcome.err
    assert [one.claims for one in CredentialsMap.load(server).credentials()] == [(":\u00fcnten", "a", "b"), (":x",)]


def test_commands_do_not_lose_each_others_work(tmp_path):
    """Processes of their own would take longer; the lock is that of the open file, so threads are as good."""
    from securecoap.cli.adding import add

    def make(number):
        add.main([str(tmp_path / "s.json"), f":d{number}", "dtls"], standalone_mode=False)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(24)))
    assert len(json.loads((tmp_path / "s.json").read_text())) == 24


@pytest.mark.parametrize("kind", ["dtls", "oscore", "edhoc-oscore"])
def test_new_prints_an_entry_that_loads(run, kind):
    outcome = run("credentials", "new", kind, "--name", "sensor-1")
    other = run("credentials", "new", kind, "--name", "sensor-1")
    assert outcome.status == 0
    assert outcome.out != other.out
    assert CredentialsMap.from_dict({":a": json.loads(outcome.out)}).warnings == ()


def test_new_of_a_kind_that_takes_two(run):
    assert json.loads(run("credentials", "new", "dtls-rpk").out)["dtls-rpk"].keys() == {"private-key", "public-key"}
    outcome = run("credentials", "new", "dtls-x509")
    assert (outcome.status, outcome.out) == (2, b"")


def test_add(run, tmp_path, monkeypatch):
    file = tmp_path / "s.json"
    (tmp_path / "key").write_bytes(os.urandom(16))

    def add(*arguments):
        return run("credentials", "add", file, *arguments)

    assert add(":a", "dtls", "client-identity=ascii:a", "psk=file:key", "--claims", "reader").status == 0
    assert add(":b", "oscore", "--not-after", "2999-01-01T00:00:00Z").status == 0
    assert add(":c", ":a").status == 0
    assert add("coap://*/x", "any-of", ":a", ":b", "--methods", "GET", "--methods", "PUT").status == 0
    assert add("coap://*/y", "unprotected").status == 0
    assert (
        add(
            ":d",
            "oscore",
            "secret=hex:" + "01" * 16,
            "sender-id=hex:01",
            "recipient-id=hex:77",
            "window=64",
            "echo=false",
        ).status
        == 0
    )
    content = json.loads(file.read_text())
    assert content[":a"] == {"dtls": {"client-identity": {"ascii": "a"}, "psk": {"file": "key"}}, "claims": ["reader"]}
    assert content["coap://*/x"] == {"any-of": [":a", ":b"], "methods": ["GET", "PUT"]}
    assert content[":d"]["oscore"]["window"] == 64
    before = file.read_bytes()
    for wrong in (
        (":a", "dtls"), (":e", ":nobody"), (":e", "nokind"), (":e", "dtls", "psk"), (":e", "dtls", "psk=hex:0g"),
        ("e", "dtls"), (":e", ":a", "--claims", "x"), (":e", "dtls-x509"),
    ):  # fmt: skip
        outcome = add(*wrong)
        assert (outcome.status, outcome.out) == (2, b""), wrong
        assert file.read_bytes() == before


def test_add_from_a_table(run, tmp_path):
    """Keys that somebody else made, in columns; or new ones, of which `export` gives the other half."""
    file, table = tmp_path / "s.json", tmp_path / "t.csv"
    psk = "00112233445566778899aabbccddeeff"
    table.write_text(
        "label,claims,client-identity.ascii,psk,identity-hint\n"
        f'a,reader writer,dev-a,hex:{psk},\n:b,,dev-b,"base64:ABEiM0RVZneImaq7zN3u/w==",ascii:hint\n\n'
    )
    outcome = run("credentials", "add", file, "dtls", "--csv", table, "--claims", "fleet")
    assert (outcome.status, outcome.out) == (0, b"")
    found = CredentialsMap.load(file)
    assert found.find_psk(b"dev-a", 0.0).claims == (":a", "fleet", "reader", "writer")
    assert found.find_psk(b"dev-b", 0.0).claims == (":b", "fleet")
    assert {found.find_psk(name, 0.0).psk.reveal().hex() for name in (b"dev-a", b"dev-b")} == {psk}

    table.write_text("claims,label\n,c\nx,d\n")
    assert run("credentials", "add", file, "oscore", "--csv", table, "--not-after", "2999-01-01T00:00:00Z").status == 0
    found = CredentialsMap.load(file)
    assert [one.claims for one in found.credentials()][2:] == [(":c",), (":d", "x")]
    assert found.credentials()[2].validity.not_after < float("inf")
    assert run("credentials", "export", file, "c").status == 0

    before = file.read_bytes()
    for kind, content, says in [
        ("dtls", "label\na\n", "t.csv:2: :a is there already"),
        ("dtls", "label,psk\na,hex:00\n", "t.csv:2: :a is there already"),
        ("dtls", "label\nx\nx\n", "t.csv:3: :x is in line 2 already"),
        ("dtls", "name\nx\n", "t.csv:1: columns named label"),
        ("dtls", "label,psk,psk\nx\n", "t.csv:1: columns named label"),
        ("dtls", "label\nx,y\n", "t.csv:2: more cells than columns"),
        ("dtls", "label,psk.hex\nx,0g\n", "t.csv:2: :x.dtls: client-identity is missing"),
        (
            "oscore",
            "label,secret.hex,sender-id.hex,recipient-id.hex\nx,00,01,02\nx.y,00,01,0g\n",
            "t.csv:3: :x.y.oscore.recipient-id: not an even number",
        ),
        (
            "dtls",
            f"label,client-identity.ascii,psk.hex\nx,dev-x,{psk}\n\ny,dev-x,{psk}\n",
            "t.csv:4: :y.dtls.client-identity: the same identity as in :x.dtls",
        ),
        (
            "dtls",
            f"label,client-identity.ascii,psk.hex\nx,dev-x,{psk}\ny,dev-a,{psk}\n",
            "t.csv:3: :y.dtls.client-identity: the same identity as in :a.dtls",
        ),
        ("dtls-rpk", "label\nx\n", "t.csv:2: no members"),
        ("dtls", 'label\n"x', "not a table"),
        ("dtls", "label\n,\n", "more cells"),
    ]:
        table.write_text(content)
        outcome = run("credentials", "add", file, kind, "--csv", table)
        assert (outcome.status, outcome.out) == (2, b""), content
        assert says in outcome.err
        assert file.read_bytes() == before
    table.write_text("label,client-identity.ascii,psk.hex\ny,dev-y,001122\n")
    outcome = run("credentials", "add", file, "dtls", "--csv", table)
    assert f"warning: {table}:2: :y.dtls.psk: the key has fewer than 16 bytes" in outcome.err
    table.write_text("label,client-identity.ascii,psk.hex\nz,dev-z,00112233445566778899aabbccddee77\n")
    outcome = run("credentials", "add", file, "dtls", "--csv", table)
    assert f"warning: {file}: :y.dtls.psk: the key has fewer than 16 bytes" in outcome.err  # which was there before
    for wrong in (("dtls", "x", "--csv", table), ("dtls",), ("dtls", "--csv", tmp_path / "nothing")):
        assert run("credentials", "add", file, *wrong).status == 2


def test_an_authority_that_is_elsewhere_is_not_replaced(pair, files, run):
    pair("dtls-x509")
    authority = files[0].with_name("server-ca.pem")
    kept = authority.read_bytes()
    command = ("credentials", "pair", "dtls-x509", "y", "--server", files[0], "--device", files[0].with_name("y"))
    authority.unlink()
    assert "server-ca.pem: not there" in run(*command).err
    authority.write_bytes(kept[: len(kept) // 2])
    assert "server-ca.pem: not an authority" in run(*command).err
    assert not files[0].with_name("y").exists()
    authority.write_bytes(kept)
    assert run(*command).status == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("pair", "dtls", "x", "--server", "s"),
        ("pair", "dtls", "--server", "s", "--device", "d"),
        ("pair", "dtls", "x", "--server", "nowhere/s", "--device", "nowhere/d"),
        ("pair", "tlscert", "x", "--server", "s", "--device", "d"),
        ("pair", "dtls", "ünter", "--server", "s", "--device", "d"),
        ("pair", "dtls-x509", "a b", "--server", "s", "--device", "d", "--uri", "h"),
        ("pair", "dtls-x509", "a", "--server", "s", "--device", "d"),
        ("rotate", "x", "--server", "s", "--device", "d"),
        ("revoke", "s", "x"),
    ],
)
def test_what_cannot_be_made(run, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = run("credentials", *arguments)
    assert outcome[:2] == (2, b"")
    assert outcome.err
    assert list(tmp_path.iterdir()) == []


@real
@pytest.mark.parametrize("kind", ["dtls", "oscore"])
async def test_a_rotation_at_a_server_that_runs(run, tmp_path, kind):
    """Both keys work with the same claims, then the new one only; nobody is revoked by accident."""
    server, device = tmp_path / "server.json", tmp_path / "device.json"
    for label, file in (("x", device), ("other", tmp_path / "other.json")):
        assert run("credentials", "pair", kind, label, "--server", server, "--device", file).status == 0
    assert run("credentials", "pair", "dtls", "z", "--server", server, "--device", tmp_path / "z.json").status == 0
    old = json.loads(device.read_text())
    site = start_demo(tmp_path, "--credentials", str(server))
    uri = site.coaps if kind == "dtls" else site.coap
    reloads = 0

    async def reload():
        nonlocal reloads
        reloads += 1
        os.kill(site.program.pid, signal.SIGHUP)
        said = r"were read again(?s:.*)" * reloads
        await asyncio.to_thread(site.program.wait_for, said, seconds=30)

    async def claims(client):
        return json.loads((await client.get(uri + "/whoami", timeout=5)).payload)["claims"]

    try:
        async with Context.client(credentials=old, state=tmp_path / "old") as before:
            assert await claims(before) == [":x"]
            assert run("credentials", "rotate", "x", "--server", server, "--device", device).status == 0
            await reload()
            async with Context.client(credentials=device, state=tmp_path / "new") as after:
                assert await claims(before) == await claims(after) == [":x"]
                assert run("credentials", "rotate", "x", "--server", server, "--finish").status == 0
                await reload()
                assert await claims(after) == [":x"]
                with pytest.raises(CoapError):
                    await claims(before)
                assert run("credentials", "revoke", server, "x").status == 0
                await reload()
                with pytest.raises(CoapError):
                    await claims(after)
        async with Context.client(credentials=tmp_path / "other.json", state=tmp_path / "other") as other:
            assert await claims(other) == [":other"]
    finally:
        site.program.stop()


@real
async def test_every_pair_works_at_a_server_that_runs(run, tmp_path):
    kinds = [kind for kind in KINDS if kind != "edhoc-oscore" or find_spec("lakers") is not None]
    server = tmp_path / "server.json"
    for kind in kinds:
        device = tmp_path / f"{kind}.json"
        command = ("credentials", "pair", kind, kind, "--server", server, "--device", device, "--uri", "localhost")
        assert run(*command).status == 0
    site = start_demo(tmp_path, "--credentials", str(server), "--name", "localhost")
    try:
        for kind in kinds:
            content = json.loads((tmp_path / f"{kind}.json").read_text())
            ((pattern, entry),) = content.items()
            uri = site.coaps if pattern.startswith("coaps") else site.coap
            host = {"peer-names": ["localhost"]} if kind == "dtls-x509" else {}  # [::1] is not in the certificate
            mine = {f"{uri}/*": {kind: {**entry[kind], **host}}}
            async with Context.client(credentials=mine, state=tmp_path / kind) as client:
                claims = json.loads((await client.get(uri + "/whoami", timeout=10)).payload)["claims"]
            assert f":{kind}" in claims
    finally:
        site.program.stop()
