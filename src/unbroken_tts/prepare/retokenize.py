"""Makes new text ids for a prepared data set; codes and conditioning stay where they are.

A tokenizer may grow after hours of extraction. The ids are made again from the texts in the manifests,
in seconds; the new manifests name the old features.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unbroken import DataInvalid, SettingsInvalid
from unbroken_tts.data.open_tokenizer import open_tokenizer
from unbroken_tts.data.open_tokenizer import tokenizer_of as opened
from unbroken_tts.data.tokenizer import Tokenizer
from unbroken_tts.prepare.fronts import DEFAULT, front_end, require_fitting
from unbroken_tts.prepare.plan import DESCRIPTION, TokenizerPlan
from unbroken_tts.prepare.tokenizers import UnknownRate, unknown_rate_of
from unbroken_tts.prepare.written import write_array, write_json_lines, write_whole
from unbroken_tts.progress import Progress, ignore_progress

_LISTED = 20
_PATHS = (
    "audio_path",
    "codes_path",
    "condition_path",
    "emo_vec_path",
    "prompt_audio_path",
    "prompt_condition_path",
    "prompt_emo_vec_path",
    "target_audio_path",
    "target_codes_path",
    "target_emo_vec_path",
)
"""Fields of a manifest that name a file which stays where it is."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retokenized:
    """The result."""

    output: Path
    """The new directory."""
    manifests: tuple[str, ...]
    """Names of the manifests in it."""
    utterances: int
    """Texts that were encoded."""
    vocabulary: int
    """Pieces of the tokenizer."""
    kept: int | None
    """Leading pieces that the former tokenizer has too; None if it isn't beside the features."""
    former: int | None
    """Pieces of the former tokenizer."""
    unknown: UnknownRate
    """Unknown rate of the texts."""


def retokenize(
    features: Path,
    tokenizer: Path,
    output: Path,
    *,
    language: str = "am",
    front: str = DEFAULT,
    progress: Progress = ignore_progress,
) -> Retokenized:
    """Encode the texts of a data set again and write manifests with the new ids.

    Args:
        features: A directory of prepared data, of this or another tool: every `.jsonl` file in it
            with texts and text ids is taken.
        tokenizer: The tokenizer to encode with.
        output: A new directory.
        language: Language of lines that name none.
        front: The text front end for texts of another tool; ours are encoded as they were.
        progress: Called with (texts done, texts in total).

    Raises:
        DataInvalid: There is no manifest, a line is damaged, or a text can't be used; all are named.
        SettingsInvalid: The output exists, or the texts are not those of the tokenizer's model.
    """
    model = TokenizerPlan(kind="existing", path=tokenizer).read()
    encoder = opened(model, tokenizer)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise SettingsInvalid(
            f"The output {output} exists.",
            "Files are never overwritten.",
            "Name a new directory with --output.",
        )
    tables = _tables(features)
    description = _description(features)
    require_fitting(front if description is None else description.get("front", DEFAULT), encoder)
    texts = _texts(tables, language, None if description is not None else front)
    limit = None if description is None else description["max_text_tokens"]
    with _appearing_whole(output) as partial:
        (partial / "text_ids").mkdir()
        lengths = _encode(texts, encoder, partial / "text_ids", limit, progress)
        for name, rows in tables.items():
            moved = [_moved(row, features, output, lengths) for row in rows]
            write_json_lines(partial / name, moved)
        write_whole(partial / "tokenizer.model", model)
        if description is not None:
            _write_description(partial / DESCRIPTION, description, model)
    kept, former = _compared(features / "tokenizer.model", encoder)
    return Retokenized(
        output=output,
        manifests=tuple(tables),
        utterances=len(texts),
        vocabulary=encoder.vocabulary,
        kept=kept,
        former=former,
        unknown=unknown_rate_of(encoder, texts.values()),
    )


@contextmanager
def _appearing_whole(output: Path) -> Iterator[Path]:
    """Yield a hidden directory that gets its name when the block is done; after an error it is gone."""
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if output.exists():
        output.rmdir()
    partial.rename(output)


def _tables(features: Path) -> dict[str, list[Row]]:
    """Return the lines of every manifest by its name."""
    tables: dict[str, list[Row]] = {}
    for path in sorted(features.glob("*.jsonl")):
        rows = _rows(path)
        if rows and all(_ids_path(row) and isinstance(_text(row), str) for row in rows):
            tables[path.name] = rows
    if not tables:
        raise DataInvalid(
            f"{features} has no manifest with texts and text ids.",
            "New ids are made from the texts in the manifests.",
            "Name a directory of prepared data, with files such as train_pairs.jsonl.",
        )
    return tables


def _rows(path: Path) -> list[Row]:
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
        rows = [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise DataInvalid(
            f"The manifest {path} can't be read ({error}).",
            "A line that can't be read would be missing from the new manifest.",
            "Correct it, or move it out of the directory.",
        ) from error
    return rows if all(isinstance(row, dict) for row in rows) else []


def _is_pair(row: Row) -> bool:
    return "target_text_ids_path" in row


def _ids_path(row: Row) -> str:
    return str(row.get("target_text_ids_path") or row.get("text_ids_path") or "")


def _text(row: Row) -> Any:
    return row.get("target_text" if _is_pair(row) else "text")


def _name(row: Row) -> str:
    """Return the file name of a line's text ids, which is unique in its data set."""
    path = _ids_path(row).replace("\\", "/").removeprefix("text_ids/")
    return path.replace("/", "__").replace(":", "")


def _texts(tables: Mapping[str, Sequence[Row]], language: str, front: str | None) -> dict[str, str]:
    """Return the text of each file of ids by a front end; None for texts that went through one."""
    texts: dict[str, str] = {}
    faults = []
    for manifest, rows in tables.items():
        for number, row in enumerate(rows, start=1):
            own = row.get("target_language") or row.get("language") or language
            text = _text(row) if front is None else front_end(_text(row), str(own), front)
            if texts.setdefault(_name(row), text) != text:
                faults.append(
                    f"{manifest}, line {number}: {_name(row)} also belongs to another text"
                )
    _stop_at(faults)
    return texts


def _encode(
    texts: Mapping[str, str],
    encoder: Tokenizer,
    directory: Path,
    limit: int | None,
    progress: Progress,
) -> dict[str, int]:
    """Write the ids of each text; return their numbers."""
    lengths, faults = {}, []
    for done, (name, text) in enumerate(sorted(texts.items()), start=1):
        ids = np.array(encoder.encode(text), dtype=np.int32)
        lengths[name] = len(ids)
        if not len(ids):
            faults.append(f"{name}: the text {text!r} has no tokens")
        elif limit is not None and len(ids) > limit:
            faults.append(f"{name}: {len(ids)} tokens, more than max_text_tokens {limit}")
        write_array(directory / name, ids)
        progress(done, len(texts))
    _stop_at(faults)
    return lengths


def _stop_at(faults: Sequence[str]) -> None:
    if not faults:
        return
    shown = [f"  {fault}" for fault in faults[:_LISTED]]
    if len(faults) > _LISTED:
        shown.append(f"  and {len(faults) - _LISTED} more")
    raise DataInvalid(
        "\n".join([f"{len(faults)} texts can't be used:", *shown]),
        "No data set was written, so that no text is silently omitted.",
        "Correct these lines, or use a tokenizer that needs fewer pieces.",
    )


def _moved(row: Row, features: Path, output: Path, lengths: Mapping[str, int]) -> Row:
    """Return a line with its new ids, and with paths that lead from the new directory."""
    moved = {
        key: _lead(features, value, output)
        if key in _PATHS and isinstance(value, str) and value
        else value
        for key, value in row.items()
    }
    prefix = "target_" if _is_pair(row) else ""
    moved[f"{prefix}text_ids_path"] = f"text_ids/{_name(row)}"
    moved[f"{prefix}text_len"] = lengths[_name(row)]
    return moved


def _lead(features: Path, path: str, output: Path) -> str:
    absolute = os.path.abspath(features / path)  # noqa: PTH100 - resolve() would follow links
    try:
        return Path(os.path.relpath(absolute, os.path.abspath(output))).as_posix()  # noqa: PTH100
    except ValueError:  # another drive
        return Path(absolute).as_posix()


def _description(features: Path) -> dict[str, Any] | None:
    """Return what `unbroken-tts prepare` recorded; None for features of another tool."""
    path = features / DESCRIPTION
    if not path.is_file():
        return None
    try:
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        known["made"]["tokenizer"], known["max_text_tokens"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataInvalid(
            f"{path} is damaged, or the preparation isn't finished ({error!r}).",
            "It records the codec and the limits of the features.",
            "Finish the preparation with its own command first.",
        ) from error
    return known


def _write_description(path: Path, known: Mapping[str, Any], model: bytes) -> None:
    digest = hashlib.sha256(model).hexdigest()
    changed = {
        **known,
        "tokenizer": {"kind": "existing", "file": digest, "size": 0, "script": None},
        "made": {**known["made"], "tokenizer": digest},
    }
    write_whole(path, (json.dumps(changed, indent=2) + "\n").encode())


def _compared(former: Path, encoder: Tokenizer) -> tuple[int | None, int | None]:
    """Return how many leading pieces are the former tokenizer's, and how many that has."""
    if not former.is_file():
        return None, None
    before = open_tokenizer(former)
    size = before.vocabulary
    shared = min(size, encoder.vocabulary)
    different = (i for i in range(shared) if before.pieces[i] != encoder.pieces[i])
    return next(different, shared), size
