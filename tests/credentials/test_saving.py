from __future__ import annotations

import json

import pytest

from securecoap.credentials import CredentialsMap
from securecoap.credentials.saving import Change, locked, save, save_all, write_new
from securecoap.errors import CredentialsFault

from .material import NOW, psk


def test_what_was_saved_loads_and_is_for_its_owner(tmp_path):
    path = tmp_path / "c.json"
    path.write_text("{}")
    path.chmod(0o640)
    assert save(path, {":a": psk(key="00")}) == (":a.dtls.psk: the key has fewer than 16 bytes",)
    assert CredentialsMap.load(path).find_psk(b"sensor-17", NOW)
    assert path.stat().st_mode & 0o777 == 0o640
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


def test_a_new_file_is_for_its_owner_and_has_a_line_for_each_entry(tmp_path):
    path = tmp_path / "c.json"
    save(path, {"$schema": "x", ":b": psk("b"), ":a": psk("a")})
    assert path.stat().st_mode & 0o777 == 0o600
    assert [line.split('"')[1] for line in path.read_text().splitlines()[1:-1]] == ["$schema", ":b", ":a"]


def test_a_link_stays_one(tmp_path):
    save(tmp_path / "real.json", {":a": psk()})
    (tmp_path / "link.json").symlink_to("real.json")
    save(tmp_path / "link.json", {":b": psk()})
    assert (tmp_path / "link.json").is_symlink()
    assert ":b" in json.loads((tmp_path / "real.json").read_text())


def test_several_files_are_replaced_together_or_not_at_all(tmp_path):
    one, two = tmp_path / "1.json", tmp_path / "2.json"
    with pytest.raises(CredentialsFault, match=r"2.json: :b: there is no :nobody"):
        save_all([Change(one, {":a": psk()}), Change(two, {":b": ":nobody"})])
    assert list(tmp_path.iterdir()) == []
    save_all([Change(one, {":a": psk()}), Change(two, b"PEM")])
    assert two.read_bytes() == b"PEM"


def test_many_new_files_are_written_or_none(tmp_path):
    (tmp_path / "b").write_text("old")
    with pytest.raises(FileExistsError):
        write_new([(f"{tmp_path}/a", {}), (f"{tmp_path}/b", {})])
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_lock_keeps_others_out_and_leaves_nothing(tmp_path):
    path = tmp_path / "c.json"
    with locked(path, tmp_path / "other.json"):
        with pytest.raises(TimeoutError, match="another command"), locked(path, seconds=0):
            pass
        with locked(tmp_path / "third.json", seconds=0):
            pass
    with locked(path, seconds=0):
        pass
    assert list(tmp_path.iterdir()) == []
