"""Exit statuses of `nixoci` for conditions that a caller can fix."""

from __future__ import annotations

#: Store paths that are needed are not valid (`EX_TEMPFAIL` of sysexits.h): realise them, try again.
EXIT_NOT_VALID = 75

#: All was done (tags were written, an image was loaded), and what the command had to say of it could not be
#: written (`EX_IOERR` of sysexits.h).
EXIT_UNTOLD = 74

#: SIGINT, as shells have it.
EXIT_INTERRUPTED = 130

#: The registry has no such image (`EX_NOINPUT` of sysexits.h).
EXIT_NO_IMAGE = 66

#: There is no Nix (or, in a Pants sandbox, no Python) where it was looked for.
EXIT_NO_NIX = 76
