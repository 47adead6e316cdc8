"""The folder of a bundle: which files it has, and whether they are what was written; what they mean is not known here.

A bundle is a trained network (or several) that can be used, copied and archived as one folder. `card.json` describes it
and holds the SHA-256 of every other file but the page for people, which may be added to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matloop.orchestrator.errors import MatloopError

CARD, PAGE = "card.json", "README.md"

FORMAT = "matloop bundle"
VERSION = 1
"""Of the format. A reader refuses a later one, and goes on to read every earlier one."""


class BundleError(MatloopError):
    """A folder is no bundle, or not the one that was written."""


def is_bundle(path: Path) -> bool:
    """Whether a folder, whole or not, has the card of a bundle."""
    try:
        return _card(path).get("format") == FORMAT
    except BundleError:
        return False


def occupied(folder: Path) -> bool:
    """Whether something is there that is not an empty folder."""
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def seal(folder: Path, card: Mapping[str, Any]) -> dict[str, Any]:
    """Write the card of a folder whose other files are there; returns it as it was written.

    Args:
        folder: whose files, but for the page, are not to change any more.
        card: JSON-able; format, version and hashes are added.
    """
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    files = {name: _sha256(folder / name) for name in names if name not in (CARD, PAGE)}
    whole = {"format": FORMAT, "version": VERSION, **card, "files": files}
    whole = json.loads(json.dumps(whole))
    whole["seal"] = _digest(whole)
    (folder / CARD).write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return whole


def unseal(folder: Path) -> dict[str, Any]:
    """The card of a whole and unchanged bundle.

    Raises:
        BundleError: it is none, of a later format, incomplete or changed; says which files.
    """
    card = _card(folder)
    if card.get("format") != FORMAT:
        raise BundleError(f"expected {folder / CARD} to be the card of a bundle, got another file; export it again")
    if not isinstance(card.get("version"), int) or card["version"] > VERSION:
        raise BundleError(
            f"expected a bundle of format 1 to {VERSION}, got {card.get('version')} in {folder}; "
            "use the matloop that wrote it, or a later one"
        )
    if card.get("seal") != _digest(card) or not isinstance(card.get("files"), dict):
        raise BundleError(f"{folder / CARD} was changed after it was written; export the bundle again")
    missing = [name for name in card["files"] if not (folder / name).is_file()]
    if missing:
        raise BundleError(f"the bundle {folder} is incomplete, it lacks {', '.join(missing)}; copy the whole folder")
    changed = [name for name, digest in card["files"].items() if _sha256(folder / name) != digest]
    if changed:
        raise BundleError(f"{', '.join(changed)} of the bundle {folder} was changed; copy or export it again")
    return card


def _card(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(
            f"expected a bundle in {folder}, which has a {CARD}: {error.strerror}; "
            "`matloop export runs/NAME --bundle FOLDER` makes one"
        ) from error
    except (ValueError, RecursionError) as error:
        text = f"expected {folder / CARD} to be the card of a bundle, got: {error}; export it again"
        raise BundleError(text) from error
    if not isinstance(found, dict):
        raise BundleError(f"expected {folder / CARD} to be the card of a bundle, got another file; export it again")
    return found


def _digest(card: Mapping[str, Any]) -> str:
    """SHA-256 of a card without its seal, however it is laid out."""
    content = {key: value for key, value in card.items() if key != "seal"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
