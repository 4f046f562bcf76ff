from __future__ import annotations

import json

import pytest

from securecoap.credentials import CredentialsMap
from securecoap.credentials.saving import save
from securecoap.errors import CredentialsFault

from .material import NOW, psk


def test_what_was_saved_loads_and_is_for_its_owner(tmp_path):
    path = tmp_path / "c.json"
    path.write_text("{}")
    path.chmod(0o644)
    assert save(path, {":a": psk(key="00")}) == (":a.dtls.psk: the key has fewer than 16 bytes",)
    assert CredentialsMap.load(path).find_psk(b"sensor-17", NOW)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_faulty_map_is_not_saved(tmp_path):
    path = tmp_path / "c.json"
    save(path, {":a": psk()})
    with pytest.raises(CredentialsFault):
        save(path, {":a": ":b"})
    assert ":a" in json.loads(path.read_text())
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "c.json"
    monkeypatch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        save(path, {":a": psk()})
    assert list(tmp_path.iterdir()) == []
