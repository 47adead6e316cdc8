"""What the record asks of a file system: is it local, whose are new files, and is a name on the disk for good."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

import psutil

from matloop.orchestrator.errors import LedgerUnwritable

LOCAL = {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "reiserfs", "bcachefs", "nilfs2", "ubifs"}
LOCAL |= {"tmpfs", "ramfs", "rootfs", "overlay", "aufs", "ecryptfs", "squashfs", "erofs", "iso9660", "udf", "simfs"}
LOCAL |= {"apfs", "hfs", "hfsplus", "ufs", "ffs", "hammer2"}
LOCAL |= {"ntfs", "ntfs3", "refs", "exfat", "vfat", "msdos", "fat", "fat32", "cdfs", "fuseblk"}
"""File systems that one computer has for itself. Any other is taken for a network's, on which all that is done is safe
on a local one too, only slower."""


def on_network(path: Path) -> bool:
    """Whether the path may lie on a network file system: it does not lie on one that is known to be local."""
    resolved = path.absolute().resolve()
    if resolved.drive.startswith("\\\\"):  # Windows: a folder of another computer
        return True
    try:
        disks = psutil.disk_partitions(all=True)
    except (OSError, psutil.Error):
        return True
    holding = [disk for disk in disks if disk.fstype != "autofs" and resolved.is_relative_to(disk.mountpoint)]
    if not holding:
        return True
    # What was mounted last lies on top, unless the table was put in another order; then the deepest is meant.
    deepest = max(reversed(holding), key=lambda disk: len(Path(disk.mountpoint).parts))
    return any(disk.fstype.lower() not in LOCAL or "remote" in disk.opts.split(",") for disk in (holding[-1], deepest))


def make_folder(folder: Path, *, option: str = "--dir") -> None:
    """Create a folder and those above it, if absent, so that they outlive a power failure.

    Args:
        folder: its path.
        option: by which a user chooses another one.

    Raises:
        LedgerUnwritable: it cannot be created.
    """
    absent = [folder, *folder.parents]
    absent = absent[: next((i for i, path in enumerate(absent) if path.exists()), len(absent))]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerUnwritable(
            f"cannot create {folder}: {error.strerror}; choose another folder with {option}"
        ) from error
    for path in absent:
        sync_folder(path.parent)


def private(path: str | os.PathLike[str], flags: int) -> int:
    """Open a file, for `open(..., opener=private)`; a new one is its owner's alone, or the group's where its folder is.

    A folder is the group's where the group may write to it. The mask of the process plays no part in that, since the
    folder says what was meant.
    """
    if not flags & os.O_CREAT:
        return os.open(path, flags)
    try:
        descriptor = os.open(path, flags | os.O_EXCL, 0o600)
    except FileExistsError:
        if flags & os.O_EXCL:
            raise
        return os.open(path, flags)
    if os.name != "nt" and is_shared(Path(path).parent):
        os.fchmod(descriptor, 0o660)
    return descriptor


def is_shared(folder: Path) -> bool:
    """Whether a folder's group may write to it, and not just anybody with a file of his own, as in /tmp."""
    mode = folder.stat().st_mode
    return bool(mode & stat.S_IWGRP) and not mode & stat.S_ISVTX


def sync_folder(folder: Path) -> None:
    """Have the names in a folder outlive a power failure, as far as the file system can; Windows does it by itself.

    Raises:
        OSError: the disk did not take it.
    """
    if os.name == "nt":
        return
    with suppress(PermissionError):  # a folder above that may be passed but not read
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EROFS, errno.EBADF):
                raise
        finally:
            os.close(descriptor)
