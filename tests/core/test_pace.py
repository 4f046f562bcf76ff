"""How often, and when acknowledged (RFC 7641 section 4.5)."""

from __future__ import annotations

from securecoap.core.pace import Pace


def test_the_first_is_to_be_acknowledged_and_then_one_in_many() -> None:
    pace = Pace(3)
    assert pace.send(0.0)
    for _ in range(3):
        pace.acknowledged(0.1)
        assert [pace.send(1.0) for _ in range(4)] == [False, False, False, True]


def test_r108_a_day_is_the_longest_silence() -> None:
    pace = Pace(1000)
    assert pace.send(0.0)
    pace.acknowledged(1.0)
    assert not pace.send(24 * 3600.0)
    assert pace.send(24 * 3600.0 + 1.0)


def test_one_in_a_round_trip_time_and_never_slower_than_three_seconds() -> None:
    pace = Pace(10)
    pace.send(0.0)
    assert pace.next_at < 0.0
    pace.acknowledged(0.25)
    pace.send(10.0)
    assert pace.next_at == 10.25
    pace.acknowledged(70.0)  # retransmitted, and hardly a round-trip time
    pace.send(80.0)
    assert pace.next_at == 83.0
