"""Any program as a driver: input files from templates, a run in a fresh folder, numbers read from what it leaves.

Templates are Jinja2: `{{temperature}}` is the point's value of that name, `{{point["T (K)"]}}` one whose name is not
a word, `{{trial.seed}}` a field of the trial. A name that the point lacks is an error. Values are data, whatever they
hold: each is one argument, or part of one. A value at the beginning of an argument may still look like an option to the
program; where choices are not your own, write `--name={{x}}`, or `--` before it.

What has to outlast an interruption belongs into `{{trial.folder}}`, also MATLOOP_TRIAL_FOLDER in the environment: it is
the same in every attempt. Where the trial is to end, the program and what it has started get SIGTERM, and `grace_s`
later SIGKILL. A program that was interrupted has not finished, whatever its exit code: it is run again if the trial is.
Only where the trial is not `repeatable` its numbers count, if it ends with 0 and all of them are there.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import jinja2

from matloop.drivers.beside import missing
from matloop.drivers.parsing import CommandFailed, Output, check, read
from matloop.drivers.shell import check_arguments, check_shell
from matloop.orchestrator import interruption
from matloop.orchestrator.errors import ConfigError, NotBegun, is_of_the_machine
from matloop.orchestrator.interruption import GRACE_S, Interrupted
from matloop.orchestrator.processes import POSIX, apart, cause_of_death, end_family, kill_family
from matloop.orchestrator.protocols import Space
from matloop.orchestrator.trial import Measurement, Objective, Trial
from matloop.orchestrator.workplace import PREFIX, SCRATCH, TRIAL_FOLDER, Keep, prepared, remove_scratch

TAIL_LINES = 12  # how much of the program's output goes into an error
WORK = "work"  # the working folder within a trial's
IMPATIENCE_S = 1.0  # what a program has to end in after a Ctrl-C, if it runs under no executor that could wait


class Command:
    """Runs a program once per trial.

    Args:
        run: the program and its arguments, each a template. A string is split as a shell would, before the values
            are filled in, so that a value is never more than one argument.
        output: where each measured number is found, by its name.
        inputs: files to write into the working folder: name to template.
        templates: template files, filled in and written under their own names without a final `.j2`.
        files: files that are linked into the working folder as they are; on Windows they are copied if need be.
        artifacts: files of the working folder to keep with the trial.
        shell: pass `run` to /bin/sh, values quoted, so that pipes and redirections work. Values have to stand bare:
            inside other quotes they cannot be quoted, and are refused. Not on Windows.
        environment: environment variables to set, each a template; for values that cannot stand bare.
        timeout_s: wall time after which the program is interrupted, s; the trial has failed then.
        grace_s: how long it may go on after SIGTERM, s.
        fresh: begin every attempt in an empty working folder; else it works in `trial.folder` itself, with what an
            earlier attempt left there.
        keep: which trials' folders stay: those of failed trials, all, or none.
        scratch: where working folders are made, such as a fast disk; in `trial.folder` if left out.
        repeatable: whether running it again at the same point is harmless; only then is a crash retried.

    Raises:
        ConfigError: an option makes no sense, a template is wrong, or a file is missing.
    """

    objectives: tuple[Objective, ...] = ()

    def __init__(
        self,
        *,
        run: str | list[str],
        output: dict[str, Output],
        inputs: dict[str, str] | None = None,
        templates: list[Path] | None = None,
        files: list[Path] | None = None,
        artifacts: list[str] | None = None,
        shell: bool = False,
        environment: dict[str, str] | None = None,
        timeout_s: float | None = None,
        grace_s: float = GRACE_S,
        fresh: bool = True,
        keep: Keep = "failed",
        scratch: Path | None = None,
        repeatable: bool = True,
    ) -> None:
        if shell and not isinstance(run, str):
            raise ConfigError(
                "run: expected a string with `shell: true`, got a list; join it or drop `shell`", at="run"
            )
        if shell and not POSIX:
            raise ConfigError(
                "shell: there is no /bin/sh here; name the program and its arguments, or a script, in `run`", at="shell"
            )
        if not run or not output:
            raise ConfigError("expected `run` to name a program and `output` at least one number, got none")
        if timeout_s is not None and not timeout_s > 0:
            raise ConfigError(f"timeout_s: expected more than 0, got {timeout_s}", at="timeout_s")
        if not grace_s >= 0:
            raise ConfigError(f"grace_s: expected at least 0, got {grace_s}", at="grace_s")
        if not fresh and scratch is not None:
            raise ConfigError("fresh: what is to be found again cannot lie in `scratch`; drop one of them", at="fresh")
        self.shell = shell
        self.run = [run] if shell and isinstance(run, str) else split(run) if isinstance(run, str) else list(run)
        self.output = {name: check(name, spec) for name, spec in output.items()}
        self.inputs = dict(inputs or {})
        for option, paths in (("templates", templates or []), ("files", files or [])):
            for i, path in enumerate(paths):
                if not path.exists():
                    raise ConfigError(f"expected a file, got {path}, which does not exist", at=(option, i))
        self.inputs |= {p.name.removesuffix(".j2"): p.read_text(encoding="utf-8") for p in templates or []}
        self.files = [Path(p).absolute() for p in files or []]
        self.artifacts = list(artifacts or [])
        self.environment = dict(environment or {})
        self.timeout_s, self.grace_s, self.repeatable = timeout_s, grace_s, repeatable
        self.fresh, self.keep, self.scratch = fresh, keep, scratch
        for name, text in [*(("run", part) for part in self.run), *self.inputs.items()]:
            _template(text, shell and name == "run", name)
        for name, text in self.environment.items():
            if not name or "=" in name or "\0" in name:
                raise ConfigError(f"expected names of environment variables, got {name!r}", at="environment")
            _template(text, False, name, ("environment", name))
        if shell:
            check_shell(self.run[0], _environment(quoted=True))
        else:
            check_arguments(self.run)
        for name, at in [*((n, ("inputs", n)) for n in self.inputs), *((n, "artifacts") for n in self.artifacts)]:
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise ConfigError(f"expected a file name inside the working folder, got {name!r}", at=at)

    def check(self, space: Space) -> list[str]:
        """See `matloop.orchestrator.protocols.Checking`: what the program will miss in its working folder."""
        return [] if self.shell else missing(self.run, self.files, [*self.inputs])

    def __call__(self, trial: Trial) -> Measurement:
        """Run the program and read its numbers.

        Raises:
            CommandFailed: it ended with an error, or a number is missing. The text is short, so that equal failures
                can be counted together; the last lines of output and the working folder follow as notes, which
                the traceback shows.
            TimeoutError: it took longer than `timeout_s`.
            Either has, as `info["read"]`, the numbers that could be read nevertheless.
        """
        prepared(trial.workplace)
        with _before_it_begins():
            folder = self._working_folder(trial)
        succeeded = False
        try:
            measurement = self._measure(trial, folder)
            succeeded = True
            return measurement
        except Exception as error:
            error.__dict__["info"] = self._left(folder)
            if self.keep != "none":
                error.add_note(f"working folder kept: {folder}")
            raise
        finally:
            if folder != trial.folder and (self.keep == "none" or (self.keep == "failed" and succeeded)):
                self._remove(folder, trial)

    def _working_folder(self, trial: Trial) -> Path:
        """Where the program runs; that of an earlier attempt is emptied before, unless it is to be found again."""
        if trial.folder is None or self.scratch is not None:
            return self._outside(trial)
        folder = trial.folder / WORK if self.fresh else trial.folder
        if self.fresh:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(exist_ok=True)
        return folder

    def _outside(self, trial: Trial) -> Path:
        if self.scratch is not None:
            self.scratch.mkdir(parents=True, exist_ok=True)
        prefix = f"{PREFIX}{re.sub(r'[^A-Za-z0-9_-]', '_', trial.study)}-{trial.number}-"
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=self.scratch))
        if trial.folder is not None:
            with suppress(OSError):  # links are a privilege on Windows
                remove_scratch(trial.folder)  # of an earlier attempt
                (trial.folder / SCRATCH).symlink_to(folder.absolute(), target_is_directory=True)
        return folder

    def _remove(self, folder: Path, trial: Trial) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        if trial.folder is not None:
            with suppress(OSError):  # what was measured is not lost over it
                (trial.folder / SCRATCH).unlink(missing_ok=True)

    def _measure(self, trial: Trial, folder: Path) -> Measurement:
        values = {**trial.point, "point": trial.point, "trial": trial}
        with _before_it_begins():
            for name, text in self.inputs.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(_render(_template(text, False, name), values, name), encoding="utf-8")
            for file in self.files:
                _provide(file, folder / file.name)
        arguments = [_render(_template(part, self.shell, "run"), values, "run") for part in self.run]
        variables = {name: _render(_template(v, False, name), values, name) for name, v in self.environment.items()}
        started = time.monotonic()
        self._execute(arguments, folder, variables, trial.folder)
        interruption.end()  # it has finished: its numbers are not to be lost
        seconds = time.monotonic() - started
        numbers = {name: read(name, spec, folder) for name, spec in self.output.items()}
        kept = {}
        for name in self.artifacts:
            if not (folder / name).is_file():
                raise CommandFailed(f"expected the program to leave {name!r}, which is not there")
            kept[name] = (folder / name).read_bytes()
        info: dict[str, Any] = {"program_s": round(seconds, 3)}
        if self.keep == "all":
            info["folder"] = str(folder)
        return Measurement(values=numbers, info=info, artifacts=kept)

    def _left(self, folder: Path) -> dict[str, Any]:
        """What a program that failed had measured, as details of its failure."""
        found = {}
        for name, spec in self.output.items():
            with suppress(CommandFailed):
                found[name] = read(name, spec, folder)
        return {"read": found} if found else {}

    @property
    def _program(self) -> str:
        """The program as the campaign file has it: the same in every trial."""
        return repr(self.run[0])

    def _execute(
        self, arguments: Sequence[str], folder: Path, variables: Mapping[str, str], place: Path | None
    ) -> None:
        own = {} if place is None else {TRIAL_FOLDER: str(place)}
        with ExitStack() as opened:
            with _before_it_begins():
                out, err = (opened.enter_context((folder / name).open("wb")) for name in ("stdout.txt", "stderr.txt"))
            try:
                process = subprocess.Popen(
                    arguments[0] if self.shell else arguments,
                    shell=self.shell,
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env={**os.environ, **own, **variables},
                    **apart(),
                )
            except ValueError as error:
                raise CommandFailed(
                    f"cannot start {self._program}: {error}; a value holds what no argument can"
                ) from error
            except OSError as error:
                raise CommandFailed(
                    f"cannot start {self._program}: {error.strerror}; check that it is installed and on the PATH"
                ) from error
            try:
                code = self._wait(process)
            finally:
                kill_family(process, group=True)
                process.wait()
        if code != 0:
            tail = _tail(folder / "stderr.txt") or _tail(folder / "stdout.txt") or ["no output"]
            failure = CommandFailed(f"{self._program} ended with {cause_of_death(code)}: {tail[-1]}")
            failure.add_note("\n".join(["its last lines:", *tail]))
            raise failure

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        """The program's exit code; once it is interrupted only one that may count."""
        try:
            return process.wait(self.timeout_s)
        except subprocess.TimeoutExpired:
            error = TimeoutError(f"{self._program} took longer than timeout_s = {self.timeout_s:g} s")
            return self._interrupt(process, error, self.grace_s)
        except Interrupted as error:
            return self._interrupt(process, error, self.grace_s)
        except KeyboardInterrupt as error:  # nothing stands between this process and its user
            return self._interrupt(process, error, min(self.grace_s, IMPATIENCE_S))

    def _interrupt(self, process: subprocess.Popen[bytes], error: BaseException, grace_s: float) -> int:
        if grace_s > 0:
            end_family(process, within_s=grace_s)
        if process.poll() == 0 and not self.repeatable:
            return 0
        raise error


@contextmanager
def _before_it_begins() -> Iterator[None]:
    """Until the program is started, what the machine lacks is no fault of the trial's.

    Raises:
        NotBegun: in the place of an error that is the machine's.
    """
    try:
        yield
    except OSError as error:
        if is_of_the_machine(error) or error.errno in (errno.EMFILE, errno.ENFILE):
            raise NotBegun(f"cannot prepare the working folder: {error}") from error
        raise


def split(command: str) -> list[str]:
    """Split as a shell does, but leave `{{…}}` whole; on Windows a backslash is one."""
    stash: list[str] = []

    def hide(found: re.Match[str]) -> str:
        stash.append(found.group())
        return f"\x00{len(stash) - 1}\x00"

    words = shlex.shlex(re.sub(r"\{\{.*?\}\}|\{%.*?%\}", hide, command, flags=re.DOTALL), posix=True)
    words.whitespace_split, words.commenters = True, ""
    if not POSIX:
        words.escape = ""
    try:
        parts = list(words)
    except ValueError as error:
        raise ConfigError(
            f"run: cannot split {command!r}: {error}; close the quotes or give a list", at="run"
        ) from error
    return [re.sub("\x00(\\d+)\x00", lambda found: stash[int(found.group(1))], part) for part in parts]


def _provide(file: Path, name: Path) -> None:
    """Link a file or folder, or copy it where links are a privilege, as on Windows."""
    try:
        name.symlink_to(file)
    except OSError:
        if file.is_dir():
            shutil.copytree(file, name)
        else:
            shutil.copy2(file, name)


def _environment(*, quoted: bool) -> jinja2.Environment:
    return jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # plain text, not HTML
        finalize=(lambda value: shlex.quote(str(value))) if quoted else None,
    )


@functools.cache
def _template(text: str, quoted: bool, name: str, at: tuple[str, ...] = ()) -> jinja2.Template:
    try:
        return _environment(quoted=quoted).from_string(text)
    except jinja2.TemplateSyntaxError as error:
        text = f"{name}, line {error.lineno} of the template: {error.message}"
        raise ConfigError(text, at=at or ("run" if name == "run" else ("inputs", name))) from error


def _render(template: jinja2.Template, values: Mapping[str, Any], name: str) -> str:
    try:
        return template.render(values)
    except jinja2.UndefinedError as error:
        has = ", ".join(str(key) for key in values["point"])
        raise CommandFailed(f"{name}: {error.message}; the point has {has}") from error


def _tail(path: Path) -> list[str]:
    text = path.read_bytes()[-4000:].decode("utf-8", errors="replace")
    return text.rstrip().splitlines()[-TAIL_LINES:]
