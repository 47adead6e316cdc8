"""Voxels as a closed surface in an STL file: exact in shape and volume, and each edge belongs to two triangles.

Marching cubes cut every edge and corner of a structure of phases, so that neither volume nor flat sides are right. Here
the surface is that of the voxels themselves. Where two voxels touch along an edge only, four of their faces would meet
there, which slicers and meshers refuse; one of the two gets a corner in the middle of the edge, so that its triangles
have edges of their own at the same place.

Format: 80 bytes of header, the number of triangles (uint32), and for each 12 float32 (normal, three corners) and two
bytes, little-endian.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

HEADER = b"matloop: closed surface of voxels"
"""Must not begin with "solid", by which readers know the format that is text."""

RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])

Ints = npt.NDArray[np.int64]


def write(path: Path, solid: npt.NDArray[Any], voxel: tuple[float, float, float]) -> int:
    """Write the surface of the voxels that are not 0, closed also at the border.

    Args:
        path: of the file.
        solid: (D, H, W): z, y, x.
        voxel: sides along x, y and z, in the unit that the file is to have.

    Returns:
        Number of triangles.
    """
    corners = triangles(np.asarray(solid) != 0)
    records = np.zeros(len(corners), dtype=RECORD)
    records["corners"] = corners * (np.array(voxel) / 2)
    sides = corners[:, 1:] - corners[:, :1]
    normal = np.cross(sides[:, 0], sides[:, 1])
    records["normal"] = np.sign(normal)
    with path.open("wb") as file:
        file.write(HEADER.ljust(80, b"\0"))
        file.write(np.uint32(len(records)).astype("<u4").tobytes())
        file.write(records.tobytes())
    return len(records)


def triangles(solid: npt.NDArray[np.bool_]) -> Ints:
    """Triangles of the surface, seen from outside counter-clockwise.

    Args:
        solid: (D, H, W): z, y, x.

    Returns:
        (n, 3, 3) int64: corners of each as x, y, z in halves of a voxel.
    """
    quads, owners = _faces(solid)
    middles = (quads + np.roll(quads, -1, axis=1)) // 2  # of the edge from each corner to the next
    split = _split(middles, owners, solid.shape)
    plain, cut = ~split.any(axis=1), split.any(axis=1)
    found = [quads[plain][:, [0, 1, 2]], quads[plain][:, [0, 2, 3]]]
    centres = quads[cut].sum(axis=1) // 4
    for side in range(4):
        first, second, middle = quads[cut][:, side], quads[cut][:, (side + 1) % 4], middles[cut][:, side]
        halved = split[cut][:, side]
        found.append(np.stack([centres, first, second], axis=1)[~halved])
        found.append(np.stack([centres, first, middle], axis=1)[halved])
        found.append(np.stack([centres, middle, second], axis=1)[halved])
    return np.concatenate(found)


def _faces(solid: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Faces between solid and nothing: (n, 4, 3) corners as x, y, z in halves of a voxel, (n,) index of the voxel."""
    padded = np.pad(solid, 1)
    index = np.arange(solid.size).reshape(solid.shape)
    quads, owners = [], []
    for axis in range(3):
        for ahead in (0, 1):
            beyond = np.roll(padded, -1 if ahead else 1, axis)[1:-1, 1:-1, 1:-1]
            shown = solid & ~beyond
            places = np.argwhere(shown)[:, ::-1]  # x, y, z
            quads.append(2 * (places[:, None, :] + _square(2 - axis, ahead)))
            owners.append(index[shown])
    return np.concatenate(quads), np.concatenate(owners)


def _square(axis: int, ahead: int) -> Ints:
    """(4, 3) corners of one face of the unit cube, counter-clockwise from outside."""
    second, third = (axis + 1) % 3, (axis + 2) % 3
    square = np.zeros((4, 3), dtype=np.int64)
    square[:, axis] = ahead
    square[:, second], square[:, third] = [0, 1, 1, 0], [0, 0, 1, 1]
    return square if ahead else square[::-1]


def _split(middles: Ints, owners: Ints, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """(n, 4) which edges of the faces get a corner in the middle: those of one of two voxels that only touch there."""
    depth, height, width = (2 * side + 1 for side in shape)
    keys = (middles[..., 2] * height + middles[..., 1]) * width + middles[..., 0]
    assert keys.size == 0 or keys.max() < depth * height * width
    _, places, counts = np.unique(keys, return_inverse=True, return_counts=True)
    places = places.reshape(keys.shape)
    first = np.full(len(counts), np.iinfo(np.int64).max)
    np.minimum.at(first, places, np.broadcast_to(owners[:, None], places.shape))
    return (counts[places] > 2) & (first[places] == owners[:, None])
