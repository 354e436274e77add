"""Writes a folder that the unchanged inference program runs from; it appears only when complete."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from unbroken import SettingsInvalid, atomic_write
from unbroken_tts.export.config_file import WEIGHTS, ExportedConfig
from unbroken_tts.export.tensors import prove_written, write_gpt_pth

if TYPE_CHECKING:
    import torch

    from unbroken_tts.model.config import GptConfig

PROVENANCE: Final = "provenance.json"
"""Says what a folder was made of, and the digest of every file in it."""
CONFIG: Final = "config.yaml"
_FORMAT: Final = 1
_WEIGHTS: Final = {".pth", ".pt", ".bin", ".ckpt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderContent:
    """What an exported folder is made of."""

    tensors: Mapping[str, torch.Tensor]
    """The weights, in the precision to write, in the order of the file."""
    model: GptConfig
    vocabulary: int
    """Pieces of the tokenizer."""
    config: ExportedConfig
    tokenizer: bytes
    """Its file."""
    provenance: Mapping[str, Any]
    """Where all this came from."""
    more: Mapping[str, bytes] = field(default_factory=dict)
    """Further files by name, such as the text front end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFolder:
    """What lies in an exported folder."""

    written: tuple[str, ...]
    """Names of the files, in the order they were written."""
    linked: tuple[str, ...]
    """Names of the entries that lead to the other folder."""
    copied: tuple[str, ...]
    """Names of the entries that were copied, as links are not possible."""
    missing: tuple[str, ...]
    """Files that `config.yaml` names and that are not there."""


def require_free_folder(target: Path, *, is_forced: bool) -> None:
    """Refuse to touch anything but a new or empty folder, or with --force an earlier export.

    Raises:
        SettingsInvalid: Something else has this name.
    """
    if not target.exists() and not target.is_symlink():
        return
    if target.is_dir() and not target.is_symlink():
        names = {entry.name for entry in target.iterdir()}
        if not names:
            return
        what = f"{target} exists and has {len(names)} entries."
        if is_forced and PROVENANCE in names:
            added = sorted(names - _exported(target))
            if not added:
                return
            what = f"{target} holds what no export wrote: {', '.join(added[:8])}."
        remedy = (
            f"Name a new folder, or add --force: with it, only a folder with a {PROVENANCE} of an "
            "earlier export is replaced."
        )
    else:
        what = f"{target} exists and is not a folder."
        remedy = "Name a new folder, or a file that ends in .pth for the weights alone."
    raise SettingsInvalid(what, "Nothing that this command did not make is replaced.", remedy)


def _exported(target: Path) -> set[str]:
    """Return the names that an earlier export recorded; its record alone if that is damaged."""
    try:
        known = json.loads((target / PROVENANCE).read_text(encoding="utf-8"))
        linked = known["linked"] or {}
        return {PROVENANCE, *known["files"], *linked.get("names", ()), *linked.get("copied", ())}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {PROVENANCE}


def require_other(into: Path, target: Path) -> None:
    """Check the folder whose files are to be linked.

    Raises:
        SettingsInvalid: It doesn't exist, or is the target itself.
    """
    if not into.is_dir():
        raise SettingsInvalid(
            f"--into {into} is not a folder.",
            "It is to hold the files of IndexTTS2 that training doesn't change.",
            "Name the folder with config.yaml, s2mel.pth and the others (often `checkpoints`).",
        )
    if target.resolve() == into.resolve():
        raise SettingsInvalid(
            f"--into {into} is the folder to write itself.",
            "The files of IndexTTS2 stay as they are; the export is a folder beside them.",
            "Name another folder to write.",
        )


def write_folder(target: Path, content: FolderContent, into: Path | None = None) -> WrittenFolder:
    """Write an export folder under a hidden name, prove it, and rename it.

    Args:
        target: The folder; `require_free_folder` has allowed it.
        content: What to write.
        into: Folder of IndexTTS2 whose other entries are linked.

    Raises:
        DataInvalid: The weights on the disk are not those that were written.
        OSError: The disk is full or the directory can't be written.
    """
    with _hidden(target) as hidden:
        files = {
            CONFIG: content.config.text.encode(),
            content.config.tokenizer: content.tokenizer,
            **content.more,
        }
        write_gpt_pth(hidden / WEIGHTS, content.tensors)
        prove_written(hidden / WEIGHTS, content.tensors, content.model, content.vocabulary)
        for name, data in files.items():
            with atomic_write(hidden / name) as aside:
                aside.write_bytes(data)
        names = [WEIGHTS, *files]
        linked, copied = _link_rest(hidden, target, into) if into else ([], [])
        record = {
            "format": _FORMAT,
            **content.provenance,
            "files": {name: {"sha256": digest_of(hidden / name)} for name in names},
            "linked": {"from": str(into.resolve()), "names": linked, "copied": copied}
            if into
            else None,
        }
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        with atomic_write(hidden / PROVENANCE) as aside:
            aside.write_text(text, encoding="utf-8", newline="\n")
    return WrittenFolder(
        written=(*names, PROVENANCE),
        linked=tuple(linked),
        copied=tuple(copied),
        missing=tuple(name for name in content.config.needed if not (target / name).exists()),
    )


@contextmanager
def _hidden(target: Path) -> Iterator[Path]:
    """Yield a new hidden folder beside the target, which takes its name if the block succeeds."""
    target.parent.mkdir(parents=True, exist_ok=True)
    hidden = target.with_name(f".{target.name}.partial")
    old = target.with_name(f".{target.name}.old")
    if old.exists() and not target.exists():
        old.rename(target)  # an earlier export was killed between its two renames
    for leftover in (hidden, old):
        if leftover.exists():  # of an export that was killed
            shutil.rmtree(leftover)
    hidden.mkdir()
    try:
        yield hidden
        if target.exists():
            target.rename(old)
        hidden.rename(target)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _link_rest(hidden: Path, target: Path, into: Path) -> tuple[list[str], list[str]]:
    linked, copied = [], []
    own = {target.resolve(), hidden.resolve()}
    for entry in sorted(into.iterdir()):
        place = hidden / entry.name
        if place.exists() or entry.name == PROVENANCE or entry.resolve() in own:
            continue
        try:
            place.symlink_to(entry.resolve(), target_is_directory=entry.is_dir())
            linked.append(entry.name)
        except OSError:  # Windows without the privilege, and some file systems
            if entry.is_dir():
                shutil.copytree(entry, place)
            else:
                shutil.copy2(entry, place)
            copied.append(entry.name)
    return linked, copied


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_folder_name(target: Path) -> bool:
    """Return whether a target means a folder: a file of weights ends in .pth or the like."""
    return target.suffix.lower() not in _WEIGHTS
