"""The heap of deadlines against a plain dictionary."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from securecoap.dtls.deadlines import Deadlines


@given(st.lists(st.tuples(st.integers(0, 9), st.one_of(st.none(), st.integers(0, 50)))))
def test_earliest_agrees_with_a_dictionary(steps):
    deadlines, model = Deadlines(), {}
    for key, when in steps:
        if when is None:
            deadlines.discard(key)
            model.pop(key, None)
        else:
            deadlines.set(key, float(when))
            model[key] = float(when)
        first = deadlines.first()
        assert (first is None) == (not model)
        assert first is None or (first[0] == min(model.values()) and model[first[1]] == first[0])
        assert len(deadlines) == len(model)
        assert deadlines.soonest <= min(model.values()) if model else deadlines.soonest == inf
    due = []
    while (key := deadlines.pop_due(25.0)) is not None:
        due.append(key)
    assert sorted(due) == sorted(key for key, when in model.items() if when <= 25.0)
    assert 25.0 < deadlines.soonest <= min((when for when in model.values() if when > 25.0), default=inf)


def test_stale_entries_do_not_pile_up():
    deadlines = Deadlines()
    for turn in range(100_000):
        deadlines.set(turn % 10, float(turn))
    assert len(deadlines._heap) < 200
