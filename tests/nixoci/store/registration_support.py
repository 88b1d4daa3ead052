"""Generated registrations for the tests of text, JSON and database."""

from __future__ import annotations

import dataclasses
from typing import Any, Sequence

from hypothesis import strategies as st
from nixoci.store.closure import ClosureGraph
from nixoci.store.registration import (
    Registration,
    Registrations,
    closed_registrations,
    registrations_of,
)

from tests.nixoci.store.closure_support import closure_graphs, info

_CONTENT_ADDRESSES = (None, "text:sha256:" + "0" * 52, "fixed:r:sha1:" + "1" * 32)


def registered(name: str, references: Sequence[str] = (), **changes: Any) -> Registration:
    """Returns a registration that is made of the name and of the names of its references."""
    (plain,) = registrations_of(ClosureGraph([info(name)]))
    references = info(name, references).references
    return dataclasses.replace(plain, **{"references": references, **changes})


def many(count: int) -> Registrations:
    """Returns as many registrations; each references up to ten others, every third itself."""
    names = [f"package-{number}-1.0" for number in range(count)]
    infos = []
    for i, name in enumerate(names):
        others = {i * k // 11 for k in range(1, 1 + i % 11)} - {i} | ({i} if i % 3 == 0 else set())
        infos.append(info(name, [names[other] for other in others], nar_size=i**3))
    return registrations_of(ClosureGraph(infos))


@st.composite
def registration_sets(draw: Any) -> Registrations:
    """Closed sets with content addresses, signatures, derivers, and sizes of every length."""
    plain = registrations_of(draw(closure_graphs()))
    paths = [registration.path for registration in plain]
    names = st.sampled_from(["a:AA==", "b.example-1:/+9=", "ключ:AA", "c:" + "A" * 86 + "=="])
    return closed_registrations(
        dataclasses.replace(
            registration,
            nar_size=draw(st.integers(0, 2**63 - 1)),
            ca=draw(st.sampled_from(_CONTENT_ADDRESSES)),
            signatures=tuple(draw(st.sets(names))),
            deriver=draw(st.none() | st.sampled_from(paths)),
        )
        for registration in plain
    )
