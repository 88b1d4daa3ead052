"""Tests of `nixoci.image.store_path_annotation`."""

from __future__ import annotations

import pytest
from nixoci.errors import InvalidInputError
from nixoci.image.store_path_annotation import (
    STORE_PATHS,
    annotated_store_paths,
    store_path_annotation,
)
from nixoci.recipe.database import DatabaseRecipe
from nixoci.recipe.layer import ROOT, LayerRecipe, RecipeEntry
from nixoci.store.registration import Registrations

from tests.nixoci.store.closure_support import store_path

A, B, C = sorted(map(store_path, "abc"))


def test_the_paths_in_the_store_are_named() -> None:
    """By their base names, sorted; what is at the root, or a database, is not in the store."""
    recipe = LayerRecipe(
        (
            RecipeEntry(C, "sha256-c", C),
            RecipeEntry(A, "sha256-a", A),
            RecipeEntry(B, "sha256-b", ROOT),
        )
    )
    annotation = store_path_annotation(recipe)
    assert annotation == ((STORE_PATHS, f"{A[11:]} {C[11:]}"),)
    assert annotated_store_paths(dict(annotation)) == (A, C)
    assert store_path_annotation(LayerRecipe((RecipeEntry(B, "sha256-b", ROOT),))) == ()
    assert store_path_annotation(DatabaseRecipe(Registrations(()))) == ()
    assert annotated_store_paths({"another": "annotation"}) == ()


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        A,
        f"{A[11:]} ",
        f"{A[11:]}  {B[11:]}",
        f"{A[11:]}\n{B[11:]}",
        f"{A[11:]} {A[11:]}",
        f"{A[11:]}/bin",
        "../../etc/passwd",
        "x" * 1_000_000,
    ],
)
def test_what_is_no_list_of_store_paths_is_refused(value: str) -> None:
    with pytest.raises(InvalidInputError):
        annotated_store_paths({STORE_PATHS: value})
