"""Exchanges by address and token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from securecoap.core.by_address import ByAddress


@dataclass(frozen=True, eq=False)
class Entry:
    token: bytes


STEPS = st.lists(
    st.tuples(st.sampled_from("+-"), st.sampled_from(["a", "b"]), st.sampled_from([b"", b"1", b"2"])), max_size=40
)


@given(STEPS)
def test_it_is_a_dictionary_of_pairs(steps: list[tuple[str, Any, bytes]]) -> None:
    table: ByAddress[Entry] = ByAddress()
    model: dict[tuple[Any, bytes], Entry] = {}
    for step, remote, token in steps:
        if step == "+":
            entry = model[remote, token] = Entry(token)
            table.add(remote, entry)
        else:
            table.discard(remote, Entry(token))  # another one with its token: nothing happens
            entry_there = model.pop((remote, token), None)
            if entry_there is not None:
                table.discard(remote, entry_there)
        for address in ("a", "b"):
            there = {entry.token: entry for (one, _), entry in model.items() if one == address}
            assert {entry.token: entry for entry in table.of(address)} == there  # type: ignore[arg-type]  # a stand-in
            for name in (b"", b"1", b"2"):
                assert table.find(address, name) is there.get(name)  # type: ignore[arg-type]  # as above
        assert len(table) == len({remote for remote, _ in model})  # nothing is left of an address without exchanges
