"""Tar → compressed blob: gzip and zstd with the same bytes on every machine.

In: a stream, format and level. Out: a stream, with the digest of the tar. Uses `processes`, for its hash.
Imports wheels (the compressors), when a layer is compressed.
"""
