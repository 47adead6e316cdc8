"""Makes this Python look like one on Windows to modules of matloop, as far as that can be done elsewhere.

Python imports this file at its start where its folder is on the path, in every process that inherits the path. Modules
and names that Windows lacks are missing for matloop's own modules, not for the libraries that it uses: those have code
of their own for Windows. What holds for files holds for everybody: an open file is neither removed nor replaced, and
names in the folder MATLOOP_WINDOWS are such as Windows knows.
"""

from __future__ import annotations

import builtins
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import types
import warnings
from pathlib import Path
from typing import Any

ABSENT = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
SIGNALS = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM", "SIG_DFL", "SIG_IGN"}
MISSING: dict[types.ModuleType, set[str]] = {
    os: {name for name in dir(os) if name.startswith(("W", "P_", "RTLD_", "SCHED_", "GRND_", "posix_", "sched_"))}
    | {name for name in dir(os) if name.startswith("O_")}
    - {"O_APPEND", "O_BINARY", "O_CREAT", "O_EXCL", "O_RDONLY", "O_RDWR", "O_TRUNC", "O_WRONLY"}
    | {"chown", "chroot", "confstr", "ctermid", "fchdir", "fchmod", "fchown", "fdatasync", "fork", "forkpty"}
    | {"getegid", "geteuid", "getgid", "getgroups", "getloadavg", "getpgid", "getpgrp", "getpriority", "getresuid"}
    | {
        "getsid",
        "getuid",
        "killpg",
        "lchown",
        "lockf",
        "memfd_create",
        "mkfifo",
        "mknod",
        "nice",
        "openpty",
        "pathconf",
    }
    | {"pipe2", "pread", "pwrite", "readv", "register_at_fork", "sendfile", "set_blocking", "setegid", "seteuid"}
    | {"setgid", "setpgid", "setsid", "setuid", "statvfs", "sync", "sysconf", "tcgetpgrp", "ttyname", "uname", "wait"}
    | {"wait3", "wait4", "waitid", "writev"},
    signal: {name for name in dir(signal) if name.startswith("SIG") and name not in SIGNALS}
    | {"alarm", "getitimer", "pause", "pthread_kill", "pthread_sigmask", "setitimer", "siginterrupt", "sigpending"}
    | {"sigtimedwait", "sigwait", "sigwaitinfo"},
    select: {"devpoll", "epoll", "kqueue", "poll"},
    socket: {"AF_UNIX"},
    subprocess: set(),
    sys: {"abiflags"},
}
POSIX_OPTIONS = {"pass_fds", "preexec_fn", "start_new_session", "process_group", "user", "group", "umask"}


class Popen(subprocess.Popen):  # type: ignore[type-arg]
    """Refuses what `subprocess` refuses on Windows."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        if refused := POSIX_OPTIONS & options.keys():
            raise ValueError(f"{', '.join(sorted(refused))} not supported on Windows platforms")
        if options.pop("creationflags", 0) not in (0, NEW_PROCESS_GROUP):
            raise ValueError("unknown creationflags")
        super().__init__(*arguments, **options)


NEW_PROCESS_GROUP = 0x200
OTHER: dict[types.ModuleType, dict[str, Any]] = {
    os: {"name": "nt"},
    sys: {"platform": "win32"},
    subprocess: {"Popen": Popen, "CREATE_NEW_PROCESS_GROUP": NEW_PROCESS_GROUP},
}


class Seen(types.ModuleType):
    """A module as matloop sees it."""

    def __init__(self, real: types.ModuleType) -> None:
        super().__init__(real.__name__)
        self.__dict__["real"] = real

    def __getattr__(self, name: str) -> Any:
        real = self.__dict__["real"]
        if name in OTHER.get(real, {}):
            return OTHER[real][name]
        if name in MISSING[real]:
            raise AttributeError(f"module {real.__name__!r} has no attribute {name!r} on Windows")
        return getattr(real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["real"], name, value)


SEEN = {real: Seen(real) for real in MISSING}
_import = builtins.__import__


def _as_seen(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    own = str((globals or {}).get("__name__", "")).partition(".")[0] == "matloop"
    if own and level == 0 and name.partition(".")[0] in ABSENT:
        raise ModuleNotFoundError(f"No module named {name!r} on Windows", name=name)
    found = _import(name, globals, locals, fromlist, level)
    return SEEN.get(found, found) if own else found


def _check_name(path: object) -> None:
    folder = os.environ.get("MATLOOP_WINDOWS")
    if not folder or not isinstance(path, str | bytes | os.PathLike):
        return
    text = os.fsdecode(path)
    if not text.startswith(folder):
        return
    for part in Path(text[len(folder) :]).parts:
        reserved = re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", part)
        if re.search(r'[<>:"|?*\\]', part) or part.endswith((".", " ")) or reserved:
            raise OSError(22, "Invalid argument: not a file name on Windows", text)


def _check_closed(path: object) -> None:
    folder = os.environ.get("MATLOOP_WINDOWS")
    if not folder or not isinstance(path, str | bytes | os.PathLike):
        return
    text = os.path.realpath(os.fsdecode(path))
    if text.startswith(folder) and text in _open_files():
        raise PermissionError(13, "The process cannot access the file because it is being used", text)


def _open_files() -> set[str]:
    found = set()
    for descriptor in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():  # noqa: PTH112, PTH208
        try:
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115
        except OSError:
            continue
    return found


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("open", "os.mkdir"):
        _check_name(arguments[0])
    elif event == "os.remove":
        _check_closed(arguments[0])
    elif event == "os.rename":
        _check_name(arguments[1])
        _check_closed(arguments[0])
        _check_closed(arguments[1])


builtins.__import__ = _as_seen
shutil._use_fd_functions = False  # type: ignore[attr-defined]
sys.addaudithook(_watch)
warnings.filterwarnings("error", category=EncodingWarning, module=r"matloop\.")
