"""Files that hold the same, such as one picture under two names, which must not be on both sides of a split."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from matloop.drivers.training.data import Data, joined
from matloop.search_spaces.networks.graph.graphs import Graphs

_SHOWN = 2


def together(found: Data, names: Sequence[str], file: npt.NDArray[np.int64] | None = None) -> Data:
    """Data in which the rows of files with equal inputs are of one group, and which says so.

    Args:
        found: with an array as inputs.
        names: of the files.
        file: (n,) index of each row's file; None where each row is a file.
    """
    of = np.arange(len(found)) if file is None else file
    alike = {content: files for content, files in _by_content(found, of).items() if len(files) > 1}
    if not alike:
        return found
    column = np.zeros(len(found), dtype="<U32")
    for content, files in alike.items():
        column[np.isin(of, files)] = content
    own = np.zeros((len(found), 0), dtype=np.str_) if found.group_names is None else found.group_names
    called = np.concatenate([column[:, None], own], axis=1)
    told = [_told(found, of, names, files) for files in alike.values() if len({names[file] for file in files}) > 1]
    more = [f"and {len(told) - _SHOWN} more such files"] if len(told) > _SHOWN else []
    problems = (*found.problems, *told[:_SHOWN], *more)
    return dataclasses.replace(found, groups=joined(called), group_names=called, problems=problems)


def common(first: Data, second: Data) -> list[str]:
    """A line where rows of the second have the same inputs as rows of the first, which a test is not to have."""
    if isinstance(first.x, Graphs) or isinstance(second.x, Graphs):
        return []
    known = {_digest(row) for row in first.x}
    rows = [i for i, row in enumerate(second.x) if _digest(row) in known]
    if not rows:
        return []
    which = f"{len(rows)} of {len(second)} rows, such as {str(second.ids[rows[0]])!r},"
    return [
        f"{second.path.name}: the inputs of {which} are among those of {first.path.name} too, which makes the test "
        "easier than new ones would be"
    ]


def _by_content(found: Data, of: npt.NDArray[np.int64]) -> dict[str, list[int]]:
    """Files by what they hold."""
    assert not isinstance(found.x, Graphs)
    hashes: dict[int, hashlib.blake2b] = {}
    for row, file in enumerate(of.tolist()):
        hashes.setdefault(file, hashlib.blake2b(digest_size=16)).update(found.x[row].tobytes())
    files: dict[str, list[int]] = defaultdict(list)
    for file, one in hashes.items():
        files[one.hexdigest()].append(file)
    return files


def _digest(row: npt.NDArray[np.generic]) -> bytes:
    return hashlib.blake2b(row.tobytes(), digest_size=16).digest()


def _told(found: Data, of: npt.NDArray[np.int64], names: Sequence[str], files: list[int]) -> str:
    targets = [found.y[of == file] for file in files]
    same = all(np.array_equal(targets[0], other) for other in targets[1:])
    listed = ", ".join(names[file] for file in files[1:4]) + (", …" if len(files) > 4 else "")
    with_what = "" if same else ", and different targets: look which is right"
    return f"{names[files[0]]} has the same content as {listed}{with_what}; they stay on one side of a split"
