"""Large results as files named by their content, so that the ledger keeps only a hash."""

from __future__ import annotations

import hashlib
import io
import os
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_NAME = re.compile("[0-9a-f]{64}")


class ArtifactStore:
    """A folder of files named by SHA-256; writing the same content twice stores it once.

    Safe for many writers at once: a file appears under its name only when whole and synced.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def save(self, content: npt.NDArray[Any] | bytes) -> str:
        """Store an array (as .npy bytes, no pickles) or bytes; return the SHA-256 in hex."""
        if not isinstance(content, bytes):
            buffer = io.BytesIO()
            np.save(buffer, np.asarray(content), allow_pickle=False)
            content = buffer.getvalue()
        name = hashlib.sha256(content).hexdigest()
        target = self.folder / name
        if not target.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = self.folder / f"{name}.{os.getpid()}.{threading.get_ident()}.tmp"
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            try:
                partial.replace(target)
            except PermissionError:  # Windows, where another one has written it meanwhile and somebody reads it
                partial.unlink()
                if not target.exists():
                    raise
        return name

    def path(self, name: str) -> Path:
        """Where the file of that hash lies."""
        return self.folder / name

    def load(self, name: str) -> npt.NDArray[Any]:
        """Read back an array."""
        return np.load(self.path(name), allow_pickle=False)

    def load_bytes(self, name: str) -> bytes:
        """Read back bytes.

        Raises:
            ValueError: that is not the name of an artifact.
            OSError: there is no such file, it cannot be read, or its content is not what was stored.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"expected the SHA-256 of an artifact, 64 hexadecimal digits, got {name!r}")
        content = self.path(name).read_bytes()
        if hashlib.sha256(content).hexdigest() != name:
            raise OSError(f"{self.path(name)} is damaged: its content does not have the SHA-256 that it is named by")
        return content
