"""Tests of `nixoci.report.reason`: what is computed fast is what the definitions say."""

from __future__ import annotations

from hypothesis import given
from nixoci.report.reason import Dependencies, _covering, _ones, _only_needed_by
from nixoci.store.closure import ClosureGraph

from tests.nixoci.store.closure_support import closure_graphs


@given(closure_graphs())
def test_triggers_and_what_is_topmost(known: ClosureGraph) -> None:
    """Each path has a bit; of those that a path depends on, it is the one that no other depends on."""
    found = Dependencies.of(known)
    assert sorted(found.own) == sorted(found.by_place) == sorted(found.graph)
    assert [1 << place for place in range(len(found.own))] == [found.own[p] for p in found.by_place]
    for path in known:
        closure = set(found.graph.closure([path]))
        assert closure == set(found.among(found.reach[path]))
        assert [path] == found.topmost(found.reach[path])
    for one in known:
        for two in known:
            common = found.reach[one] & found.reach[two]
            among = found.among(common)
            assert set(found.topmost(common)) == {
                path for path in among
                if not any(found.reach[p] & found.own[path] for p in among if p != path)
            }


@given(closure_graphs())
def test_what_layers_change_with(known: ClosureGraph) -> None:
    """The cause that is named first is behind most bytes; the next, behind most of what is left."""
    found = Dependencies.of(known)
    members = list(known)
    if not members:
        return
    left = {path: known[path].nar_size for path in members}
    for cause in _covering(members, found.triggers(members), found):
        behind = {
            other: sum(size for path, size in left.items() if found.reach[path] & found.own[other])
            for other in found.own
        }
        assert behind[cause] == max(behind.values())
        left = {path: size for path, size in left.items() if not found.reach[path] & found.own[cause]}


@given(closure_graphs())
def test_what_others_need(known: ClosureGraph) -> None:
    paths = list(known)
    for count in range(1, len(paths) + 1):
        inside = paths[:count]
        needed = {r for p, i in known.items() if p not in inside for r in i.references}
        assert _only_needed_by(inside[:2], inside, Dependencies.of(known)) == (not needed & set(inside[:2]))


def test_ones() -> None:
    assert [[], [0], [1], [0, 1, 3], [70]] == [list(_ones(n)) for n in (0, 1, 2, 11, 1 << 70)]
