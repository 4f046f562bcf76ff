"""Each bound of `Limits` says when it is reached, where it is reached: with the very tests that fill each table."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from securecoap.config import Limits, TransportParameters
from securecoap.core.leisure import Leisure
from securecoap.core.transmission import Transmission
from securecoap.events import LIMIT_NAMES
from securecoap.oscore.layer import OscoreLayer
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.core import (
    test_blockwise,
    test_cache,
    test_echo,
    test_extended_tokens,
    test_group,
    test_kept_echoes,
    test_messages,
    test_observe,
    test_outer_blocks,
    test_serving,
    test_silence,
    test_transmission,
)
from tests.core.helpers import CON, PATH_X, Plain, site_of, wire
from tests.dtls import test_endpoint, test_fragments, test_resumption
from tests.oscore import test_rederivation
from tests.oscore.fakes import End
from tests.oscore.test_layer import CLIENT, NEGATIVE
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Pair
from tests.transports.test_failure_log import ended

if TYPE_CHECKING:
    from collections.abc import Callable


class Stranger:
    confirmed = False


@virtual
async def fill_leisure() -> None:
    loop = asyncio.get_running_loop()
    waiting = Leisure(loop, random.Random(1), TransportParameters(), Limits(multicast_answers=1), lambda _: None)
    for _ in range(2):
        waiting.wait(Message(Code.CONTENT))
    waiting.close()


@virtual
async def fill_responses() -> None:
    loop = asyncio.get_running_loop()
    limits = Limits(responses_to_strangers=0)
    sending: Any = Transmission(loop, random.Random(1), TransportParameters(), limits)
    assert not sending.has_room(Stranger())


@virtual
async def send_a_long_token() -> None:
    async with Pair(site_of(x=Plain()), limits=Limits(token_length=2)) as pair:
        pair.network.inject("stranger", "server", wire(CON, Code.GET, 1, b"abc", PATH_X))
        await settle()
        assert pair.network.between("server", "stranger")[-1].code == Code.SERVICE_UNAVAILABLE


def drop_without_a_word() -> None:
    server = End("C.1.2")
    limits = Limits(oscore_errors_per_second=1)
    layer = OscoreLayer(server.below, server.contexts, server.scheduler, random.Random(1), limits)  # type: ignore[arg-type]
    layer.above = server.above  # type: ignore[assignment]  # stand-ins, as in the layer's own tests
    server.layer = layer
    for _ in range(2):
        server.receive(NEGATIVE["NEG-07"], CLIENT)


WITNESSES: dict[str, Callable[[], Any]] = {
    "peers": test_messages.test_peers_are_bounded,
    "deduplication_bytes": test_messages.test_full_of_unsafe_requests,
    "queued_per_peer": test_transmission.test_the_queue_is_bounded,
    "responses_to_strangers": fill_responses,
    "multicast_answers": fill_leisure,
    "requests_under_way": test_serving.test_handlers_under_way_are_bounded,
    "body_bytes": test_blockwise.test_too_large_is_4_13_with_size1,
    "assembly_bytes": test_blockwise.test_bytes_are_bounded_and_counted,
    "assemblies": test_blockwise.test_the_longest_idle_unconfirmed_body_goes,
    "unfragmented_bytes": test_outer_blocks.test_requests_are_put_together_within_their_bound,
    "outer_requests": test_outer_blocks.test_what_is_remembered_is_bounded,
    "observations_per_peer": test_observe.test_bounds,
    "observations_per_identity": test_observe.test_r112_bounds_of_an_identity,
    "observations": test_observe.test_r112_strangers_leave_room_for_the_others,
    "silent_requests": test_silence.test_what_is_kept_is_bounded,
    "cache_entries": test_cache.test_the_longest_unused_goes,
    "cache_bytes": test_cache.test_bytes_are_bounded,
    "extended_token_peers": test_extended_tokens.test_findings_are_bounded,
    "kept_echoes": test_kept_echoes.test_values_are_bounded,
    "group_responses": test_group.test_what_is_kept_is_bounded,
    "token_length": send_a_long_token,
    "dtls_sessions": ended,
    "dtls_handshakes": test_endpoint.test_half_open_handshakes_are_bounded_and_the_oldest_goes,
    "dtls_resumptions": test_resumption.test_offers_are_bounded,
    "dtls_handshake_bytes": test_fragments.test_bytes_of_all_messages_together_are_bounded,
    "oscore_errors_per_second": drop_without_a_word,
    "echo_challenges_per_second": test_rederivation.test_runs_are_rate_limited_and_beyond_it_is_5_03,
    "oscore_derivations_per_second": (
        test_rederivation.test_forged_requests_derive_so_often_in_a_second_and_keep_no_request_2_out
    ),
    "amplification_factor": test_echo.test_r063_r169_a_forged_discovery_gets_a_challenge,
}
OF_EDHOC = {
    "edhoc_exchanges": "test_those_who_answer_an_echo_are_bounded_too",
    "edhoc_exchanges_per_peer": "test_a_flood_from_one_address_is_bounded_there",
    "edhoc_sessions": "test_of_all_the_longest_idle_goes",
    "edhoc_sessions_per_peer": "test_sessions_are_bounded",
}


@pytest.mark.parametrize("limit", LIMIT_NAMES)
def test_a_bound_that_is_reached_says_so(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if limit in OF_EDHOC:
        pytest.importorskip("lakers")
        from tests.edhoc import test_hostile, test_sessions  # they need lakers

        witness = getattr(test_hostile, OF_EDHOC[limit], None) or getattr(test_sessions, OF_EDHOC[limit])
    else:
        witness = WITNESSES[limit]
    told: list[str] = []
    monkeypatch.setattr(Limits, "reached", lambda _, name: told.append(name))
    witness()
    assert limit in told
