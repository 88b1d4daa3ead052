"""Work on more than one processor: hashing beside packing, and a few forked workers.

In: a stream, or tasks. Out: a digest, or results in order. Uses `tar`, for the size of its buffer.
"""
