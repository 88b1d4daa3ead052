"""What pins the inputs of a build, and can be moved: the lock files of flakes and of base images.

In: addresses that the user named, and what is to move. Out: new texts of files of the repository, which nothing has
written yet, and what has moved. Uses `core`, `inference`, `flow` and `registry`.
"""
