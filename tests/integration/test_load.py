"""`nixoci load`: real engines take an image from the store, and only the layers that they lack."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess
from typing import Iterator, Mapping, Sequence

import pytest

from tests.integration.support import engines
from tests.integration.support.nix import Nix
from tests.integration.support.process import run
from tests.integration.support.store_images import (
    GREETING,
    StoreImage,
    nixoci_command,
    nixoci_environment,
    requested_layers,
    write_store_image,
)

Running = engines.Podman | engines.Docker if False else object
