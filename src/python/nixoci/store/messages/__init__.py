"""What Nix says of an evaluation that failed, in terms of the sources.

In: standard error of Nix, from 2.8 on. Out: the error, the calls around it, and where in the sources that is. Uses
`store.nar`, and is used by `store.evaluate`.
"""
