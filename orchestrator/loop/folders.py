"""What becomes of trials' folders once they are answered: removed behind the loop's back, or kept."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

from matloop.orchestrator.trial import State, Trial
from matloop.orchestrator.workplace import Keep, folder_of_trials, remove, removed_if_empty


class Folders:
    """The folders of one study's trials.

    A folder goes only when the trial's end is on record: until then another attempt may need what is in it. Removing
    takes time on a network file system, so a thread does it; what it did not get to is removed by the next session.

    Args:
        run: folder of the run.
        keep: which stay.
    """

    def __init__(self, run: Path, keep: Keep) -> None:
        self._root, self.keep = folder_of_trials(run), keep
        self._queue: SimpleQueue[tuple[int, State] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._leaving: set[int] = set()

    def leave(self, trial: int) -> None:
        """A trial that is about to be answered has a folder, perhaps."""
        self._leaving.add(trial)

    def answered(self, trial: Trial) -> None:
        """A trial's end is on record."""
        if trial.id in self._leaving:
            self._leaving.remove(trial.id)
            self.release(trial.id, trial.state)

    def tidy(self, trials: Sequence[Trial], study: str) -> None:
        """Let go of folders of a study that an earlier session, or an earlier attempt, left behind."""
        if self.keep == "all":
            return
        for trial in [trials[number] for number in self.left_behind() if number < len(trials)]:
            if trial.study == study and trial.state != "running":
                self.release(trial.id, trial.state)

    def release(self, trial: int, state: State) -> None:
        """A trial's end is on record."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="matloop-folders", daemon=True)
            self._thread.start()
        self._queue.put((trial, state))

    def left_behind(self) -> Iterable[int]:
        """Trials that have a folder."""
        try:
            return [int(entry.name) for entry in self._root.iterdir() if entry.name.isdecimal()]
        except OSError:
            return []

    def close(self, within_s: float) -> None:
        """Wait for what is being removed, s at most."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(within_s)
            self._thread = None
        with suppress(OSError):
            self._root.rmdir()  # if nothing is left

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            trial, state = item
            folder = self._root / str(trial)
            stays = self.keep == "all" or (self.keep == "failed" and state == "failed")
            if not removed_if_empty(folder) and not stays:
                remove(folder)
