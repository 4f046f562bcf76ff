from __future__ import annotations

import copy
import gc
import json
import pickle

import pytest

from securecoap.credentials import CredentialsMap, Secret
from securecoap.credentials.saving import Change

KEY = "5ec2e75ec2e75ec2e75ec2e75ec2e75e"


def test_a_secret_is_shown_nowhere():
    secret = Secret(b"hush-hush")
    assert "hush" not in f"{secret!r} {secret} {secret!s} {[secret]}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.deepcopy(secret)


def test_a_secret_is_compared_and_not_hashed():
    assert Secret(b"a") == Secret(b"a")
    assert Secret(b"a") != Secret(b"b")
    assert Secret(b"a") != b"a"
    with pytest.raises(TypeError):
        hash(Secret(b"a"))
    assert Secret(b"abc").reveal() == b"abc"
    assert len(Secret(b"abc")) == 3
    assert not Secret(b"")


def test_nothing_that_is_left_of_reading_a_file_shows_its_secrets(tmp_path):
    """Whatever is alive, the texts of files too: a debugger or a crash report prints objects by their repr."""
    path = tmp_path / "credentials.json"
    path.write_text(json.dumps({":a": {"dtls": {"psk": {"hex": KEY}, "client-identity": {"ascii": "x"}}}}))
    loaded = CredentialsMap.load(path)
    # A type of somebody else may have a descriptor as its __module__.
    ours = [one for one in gc.get_objects() if str(type(one).__module__).startswith("securecoap.credentials")]
    assert loaded in ours
    assert any(type(one).__name__ == "Document" for one in ours)
    assert not [one for one in ours if KEY in repr(one)]
    assert KEY not in repr(Change(path, json.loads(path.read_text())))
