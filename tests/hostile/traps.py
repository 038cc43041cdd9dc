"""What hostile bytes hold."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.place),)
