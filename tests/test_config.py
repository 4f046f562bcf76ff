"""The numbers of RFC 7252 section 4.8, and those derived from them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from securecoap.config import Limits, TransportParameters

REGISTRY = json.loads((Path(__file__).parent / "vectors" / "option_registry.json").read_text(encoding="utf-8"))
PARAMETERS: dict[str, Any] = REGISTRY["transmission_parameters"]


@pytest.mark.parametrize("name", PARAMETERS)
def test_defaults_are_those_of_the_rfc(name: str) -> None:
    value = getattr(TransportParameters(), name.lower())
    assert value == float(str(PARAMETERS[name]).removesuffix(" byte/s"))


def test_what_is_derived_follows() -> None:
    parameters = TransportParameters(ack_timeout=1.0, ack_random_factor=2.0, max_retransmit=2, max_latency=10.0)
    assert (parameters.max_transmit_span, parameters.max_transmit_wait) == (6.0, 14.0)
    assert (parameters.processing_delay, parameters.max_rtt) == (1.0, 21.0)
    assert (parameters.exchange_lifetime, parameters.non_lifetime) == (27.0, 16.0)


@pytest.mark.parametrize(
    "values",
    [
        {"ack_random_factor": 0.99}, {"ack_timeout": 0.0}, {"max_latency": 0.0}, {"default_leisure": -1.0},
        {"empty_ack_delay": -1.0}, {"max_retransmit": -1}, {"nstart": 0},
    ],
)  # fmt: skip
def test_what_cannot_work(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        TransportParameters(**values)


@pytest.mark.parametrize("kind", [TransportParameters, Limits])
def test_they_do_not_change_under_an_endpoint(kind: type[Any]) -> None:
    made = kind()
    for field in dataclasses.fields(kind):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, field.name, 1)
