from __future__ import annotations

import copy
import pickle

import pytest

from securecoap.credentials import Secret


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
