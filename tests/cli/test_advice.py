"""What to do next: said for what people can do something about, and for nothing else."""

from __future__ import annotations

import errno

import pytest

from securecoap import errors
from securecoap.cli.advice import about_error, about_response, about_start
from securecoap.wire.codes import Code
from securecoap.wire.message import Message


def test_a_server_that_does_not_start() -> None:
    in_use = about_start(errors.ContextInUse("taken"))
    assert in_use is not None
    assert "end it first" in in_use
    assert "--state DIR is no way out" in in_use  # two that count for themselves would use the same nonces
    lost = about_start(errors.StateError("no state"))
    assert lost is not None
    assert "--strict-state" in lost
    taken = about_start(errors.Unreachable(errno.EADDRINUSE, "127.0.0.1 port 5683 cannot be bound"))
    assert taken is not None
    assert "another program on that port" in taken
    for error in (errors.CredentialsFault(["a fault"]), errors.ConfigurationError("no such site"), OSError("bound")):
        assert about_start(error) is None


def test_a_context_that_is_in_use_is_told_apart_from_other_trouble_with_state() -> None:
    assert about_error(errors.ContextInUse("taken")) != about_error(errors.StateError("unreadable"))


def test_a_handshake_of_edhoc_is_not_one_of_dtls() -> None:
    advice = about_error(errors.HandshakeFailed("EDHOC failed: the credential is not known"))
    assert advice is not None
    assert "edhoc-oscore" in advice
    assert "coaps" not in advice
    silent = about_error(errors.HandshakeFailed("not complete after 10 s: nobody answered"))
    assert silent is not None
    assert "coaps" in silent


def test_where_a_library_is_missing_no_credentials_are_asked_for() -> None:
    error = errors.CredentialsMissing("EDHOC needs lakers-python: install securecoap[edhoc]")
    asked = about_error(error)
    assert asked is not None
    assert "--credentials" in asked
    error.__cause__ = ImportError()
    advice = about_error(error)
    assert advice is not None
    assert "--credentials" not in advice


@pytest.mark.parametrize(("max_age", "seconds"), [(None, 60), (5, 5)])
def test_when_to_try_again(max_age: int | None, seconds: int) -> None:
    answer = Message(Code.SERVICE_UNAVAILABLE, max_age=max_age)
    assert about_response(answer) == f"try again in {seconds} s"
    assert about_response(Message(Code.CONTENT)) is None
