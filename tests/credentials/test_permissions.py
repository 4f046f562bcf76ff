"""Files that entries name, and what other users of the machine may do with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from securecoap.credentials import CredentialsMap, Sources
from securecoap.credentials.permissions import READABLE, REPLACEABLE, Permissions

from .material import EDHOC_KEY, edhoc, psk

SAMPLES = Path(__file__).parents[2] / "credentials"


@pytest.fixture
def place(tmp_path):
    """A directory to which everybody gets, whatever is above it."""
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(0o755)
    return place


@pytest.fixture
def sources(tmp_path):
    """The system, but for that the directories above are open."""
    tmp_path.chmod(0o755)
    made = Sources()
    made.permissions._ways[tmp_path.parent.resolve()] = (True, False)
    return made


def written(path, mode, content="0123456789abcdef"):
    path.write_text(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("mode", "directory", "fault"),
    [
        (0o600, 0o755, None), (0o640, 0o755, None), (0o644, 0o755, READABLE), (0o604, 0o755, READABLE),
        (0o644, 0o700, None), (0o644, 0o750, None), (0o644, 0o754, None), (0o644, 0o711, READABLE),
        (0o600, 0o777, REPLACEABLE), (0o600, 0o1777, None), (0o644, 0o1777, READABLE), (0o600, 0o770, None),
        (0o600, 0o733, REPLACEABLE), (0o600, 0o776, None),
    ],
)  # fmt: skip
def test_modes(place, sources, mode, directory, fault):
    path = written(place / "key", mode)
    place.chmod(directory)
    assert sources.permissions.fault_of_key(path) == fault


def test_a_directory_further_up(place, sources, tmp_path):
    below = place / "below"
    below.mkdir(mode=0o755)
    below.chmod(0o755)
    path = written(below / "key", 0o644)
    assert sources.permissions.fault_of_key(path) == READABLE
    for mode, fault in ((0o777, REPLACEABLE), (0o700, None)):
        place.chmod(mode)
        path.chmod(0o600 if mode == 0o777 else 0o644)
        fresh = Permissions()
        fresh._ways[tmp_path.parent.resolve()] = (True, False)
        assert fresh.fault_of_key(path) == fault


def test_a_link_is_what_it_leads_to(place, sources):
    path = written(place / "key", 0o644)
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    (closed / "link").symlink_to(path)
    assert sources.permissions.fault_of_key(closed / "link") == READABLE
    (closed / "nowhere").symlink_to("nowhere")
    assert sources.permissions.fault_of_key(closed / "nowhere") is None
    assert sources.permissions.fault_of_key(place / "nothing") is None


@pytest.mark.parametrize("mode", [0o600, 0o644])
@pytest.mark.parametrize(
    ("entry", "member"),
    [
        ({"dtls": {"client-identity": {"ascii": "x"}, "psk": {"file": "key"}}}, "dtls.psk"),
        ({"any-of": [{"dtls": {"client-identity": {"ascii": "x"}, "psk": {"file": "key"}}}]}, "any-of[0].dtls.psk"),
        ({"oscore": {"secret": {"file": "key"}, "sender-id": {"hex": "01"}, "recipient-id": {"hex": "02"}}},
         "oscore.secret"),
        ({"dtls": {**psk()["dtls"], "client-identity": {"file": "key"}}}, None),
        ({"oscore": {"salt": {"file": "key"}, "secret": {"hex": "00" * 16}, "sender-id": {"hex": "01"},
                     "recipient-id": {"hex": "02"}}}, None),
    ],
)  # fmt: skip
def test_the_file_of_a_secret(place, sources, entry, member, mode):
    written(place / "key", mode)
    file = written(place / "c.json", 0o600, json.dumps({":a": entry}))
    expected = (f"{file}:1: :a.{member}: {READABLE}",) if member and mode == 0o644 else ()
    assert CredentialsMap.load(file, sources=sources).warnings == expected


def test_keys_and_certificates(place, sources):
    """A private key is a secret, in whatever kind it stands; what is public is not."""
    for path in (SAMPLES / "keys").glob("*.pem"):
        written(place / path.name, 0o644, path.read_text() + "\n")
    written(place / "own.cosekey", 0o644, f"{{1: 2, -1: 1, -4: h'{EDHOC_KEY['-4']['hex']}'}}")
    key, chain, ca = ({"file": name} for name in ("gateway.key.pem", "gateway.cert.pem", "ca.cert.pem"))
    content = {
        ":r": {"dtls-rpk": {"private-key": key, "peer-keys": {":p": {"file": "sensor-19.pub.pem"}}}},
        ":x": {"dtls-x509": {"certificate": chain, "private-key": key, "ca": [ca]}},
        ":e": edhoc(**{"private-key": None, "private-key-file": "own.cosekey"}),
    }
    file = written(place / "c.json", 0o600, json.dumps(content))
    assert CredentialsMap.load(file, sources=sources).warnings == (
        f"{file}:1: :r.dtls-rpk.private-key: {READABLE}",
        f"{file}:1: :x.dtls-x509.private-key: {READABLE}",
        f"{file}:1: :e.edhoc-oscore.private-key-file: {READABLE}",
    )


def test_a_context_directory(place, sources):
    directory = place / "context"
    directory.mkdir()
    directory.chmod(0o755)
    written(directory / "settings.json", 0o644, json.dumps({"sender-id_hex": "01", "recipient-id_hex": "02"}))
    secret = written(directory / "secret.json", 0o644, json.dumps({"secret_hex": "00" * 16}))
    file = written(place / "c.json", 0o600, json.dumps({":a": {"oscore": {"basedir": "context"}}}))
    assert CredentialsMap.load(file, sources=sources).warnings == (f"{file}:1: :a.oscore.basedir: {READABLE}",)
    secret.chmod(0o600)
    assert CredentialsMap.load(file, sources=sources).warnings == ()


def test_the_files_of_the_samples_are_public(sources):
    sources.permissions._ways[SAMPLES / "keys"] = (True, False)
    sources.permissions._ways[SAMPLES / "contexts" / "server-basedir"] = (True, False)
    for name in ("server-rpk.json", "server-x509.json", "server-edhoc.json", "server-basedir.json"):
        assert CredentialsMap.load(SAMPLES / name, sources=sources).warnings == ()


def test_a_source_of_ones_own_has_no_modes():
    class Store(Sources):
        def file(self, path):
            return b"0123456789abcdef"

    entry = {"dtls": {"client-identity": {"ascii": "x"}, "psk": {"file": "only/in/the/store"}}}
    assert CredentialsMap.from_dict({":a": entry}, sources=Store()).warnings == ()
