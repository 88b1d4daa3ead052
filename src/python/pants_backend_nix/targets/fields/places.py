"""What fields of files have in common: places and modes in an image."""

from __future__ import annotations

import re

#: A mode, as octal digits.
MODE = re.compile("[0-7]{3,4}")

#: What a place must be, for an error.
DESTINATION = "an absolute path in the image, without `.` and `..`, and not in `/nix`"
