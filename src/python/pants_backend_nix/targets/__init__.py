"""What users write in BUILD files: target types, what their strings mean, what they depend on.

In: fields. Out: `NixPackage` (what a `nix_package` is once it is evaluated), dependencies, interpolated
strings. Uses `options`.
"""
