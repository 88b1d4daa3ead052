"""What Nix says of an evaluation that failed, in terms of the sources; and where Nix has copies of these.

In: standard error of Nix, from 2.8 on; directories of flakes. Out: the error that says what to do, the calls around it,
and where in the sources that is; store paths. Uses `store.nar`, and is used by `store.evaluate`.
"""
