"""What Nix says of an evaluation that failed, in terms of the sources, or of a build that no machine can do; where Nix
has copies of sources; how far it is.

In: standard error of Nix, from 2.8 on; directories of flakes. Out: the error that says what to do, the calls around it,
and where in the sources that is; store paths; what is built and fetched. Uses `store.nar`, `store.nix`,
`store.fetch` and `store.locks`, and is used by `store.evaluate` and `store.realise`.
"""
