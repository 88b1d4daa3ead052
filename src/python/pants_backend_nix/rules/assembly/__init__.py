"""The flow for targets that name each other: from a layer or image target to its digested layers.

In: the address of a target and a `StoreView`. Out: `Stack`, `PlannedLayers`, `DigestedLayers`,
`BuiltImage`. Uses `rules.flow` and `rules.core`.
"""
