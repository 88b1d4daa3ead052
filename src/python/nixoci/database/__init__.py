"""The Nix database of an image, as bytes that are the same everywhere.

In: registrations. Out: an SQLite file, written without SQLite. Uses `store`.
"""
