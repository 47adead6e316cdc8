"""Large results as files named by their content, so that the ledger keeps only a hash."""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.ledger.disk import is_shared, private, sync_folder

_NAME = re.compile("[0-9a-f]{64}")


class ArtifactStore:
    """A folder of files named by SHA-256; writing the same content twice stores it once.

    Safe for many writers at once: a file appears under its name only when whole and synced.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def save(self, content: npt.NDArray[Any] | bytes) -> str:
        """Store an array (as .npy bytes, no pickles) or bytes; return the SHA-256 in hex.

        Raises:
            OSError: the disk is full or out of reach; nothing of it is left behind under its name.
        """
        if not isinstance(content, bytes):
            buffer = io.BytesIO()
            np.save(buffer, np.asarray(content), allow_pickle=False)
            content = buffer.getvalue()
        name = hashlib.sha256(content).hexdigest()
        if not self._has(name, len(content)):
            self._make_folder()
            self._write(name, content)
        sync_folder(self.folder)  # also for what another one has put there this moment
        return name

    def _has(self, name: str, size: int) -> bool:
        try:
            return self.path(name).stat().st_size == size
        except FileNotFoundError:
            return False

    def _make_folder(self) -> None:
        if self.folder.is_dir():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if os.name != "nt" and is_shared(self.folder.parent):
            self.folder.chmod(self.folder.stat().st_mode | 0o070)
        sync_folder(self.folder.parent)

    def _write(self, name: str, content: bytes) -> None:
        partial = self.folder / f"{name}.{secrets.token_hex(8)}.tmp"  # numbers of processes are equal on two computers
        try:
            with open(partial, "xb", opener=private) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path(name))
        except PermissionError:  # Windows, where another one has written it meanwhile and somebody reads it
            if not self._has(name, len(content)):
                raise
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    def path(self, name: str) -> Path:
        """Where the file of that hash lies."""
        return self.folder / name

    def load(self, name: str) -> npt.NDArray[Any]:
        """Read back an array.

        Raises:
            ValueError: it is no array.
            OSError: there is no such file, it cannot be read, or it is empty.
        """
        try:
            return np.load(self.path(name), allow_pickle=False)
        except EOFError as error:
            raise OSError(f"{self.path(name)} is damaged: {error}") from error

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
