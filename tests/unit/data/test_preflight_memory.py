"""What the preflight remembers between two starts, and when it does not trust it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.checked_pairs import LONG_AGO, PAIRS, check, facts_of, lines_of, written

EMO = "prompt_emo_vec_path"


def test_a_touched_file_is_read_again_and_only_it(tmp_path: Path) -> None:
    """Another mtime, size or inode makes a file unknown; its new content counts."""
    manifest = written(tmp_path)
    first = check(manifest)
    file = tmp_path / lines_of(manifest)[0][EMO]
    os.utime(file, (LONG_AGO, LONG_AGO + 5))
    touched = check(manifest)
    assert (1, facts_of(first)) == (touched.arrays_read, facts_of(touched))
    content = file.read_bytes()
    (tmp_path / "new").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(tmp_path / "new", (LONG_AGO, LONG_AGO + 5))
    (tmp_path / "new").replace(file)
    changed = check(manifest)
    assert changed.fingerprint != first.fingerprint


def test_recheck_reads_everything_and_finds_silent_change(tmp_path: Path) -> None:
    """A change behind an unchanged stat is what `recheck` is for."""
    manifest = written(tmp_path)
    first = check(manifest)
    file = tmp_path / lines_of(manifest)[0][EMO]
    content = file.read_bytes()
    with file.open("r+b") as opened:
        opened.write(content[:-4] + bytes(4))
    os.utime(file, (LONG_AGO, LONG_AGO))
    assert first.fingerprint == check(manifest).fingerprint
    again = check(manifest, recheck=True)
    assert again.arrays == again.arrays_read
    assert first.fingerprint != again.fingerprint
    assert facts_of(again) == facts_of(check(manifest))


def test_what_is_not_the_runs_is_named_until_it_is_back(tmp_path: Path) -> None:
    """The files with other content than the run's, each with a sample; however often it is looked."""
    manifest = written(tmp_path)
    first = check(manifest)
    files = [tmp_path / lines_of(manifest)[i][EMO] for i in range(2)]
    contents = [each.read_bytes() for each in files]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content[:-4] + bytes(4))
        os.utime(file, (LONG_AGO, LONG_AGO + 5))
    for _ in range(2):
        (said,) = check(manifest, run_data=first.fingerprint).notes
        assert said.startswith("2 files changed since the run was trained on them: ")
        for file, sample in zip(files, first.pairs.ids, strict=False):
            assert f"{file} (sample {sample})" in said
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
        os.utime(file, (LONG_AGO, LONG_AGO + 9))
    back = check(manifest, run_data=first.fingerprint)
    assert ((), first.fingerprint) == (back.notes, back.fingerprint)


def test_a_file_written_a_moment_ago_is_not_remembered(tmp_path: Path) -> None:
    """A file that may change without a new mtime is read again at the next start."""
    manifest = written(tmp_path)
    file = tmp_path / lines_of(manifest)[0][EMO]
    file.write_bytes(file.read_bytes())
    read_again = []
    for _ in range(20):  # on a busy machine reading may begin after the tick of the file clock
        os.utime(file)
        check(manifest, recheck=True)
        read_again.append(check(manifest).arrays_read)
    assert 1 in read_again


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: content[:10],
        lambda _: b"",
        lambda content: content[:99] + bytes([content[99] ^ 4]) + content[100:],
        lambda content: content[:-9] + bytes([content[-9] ^ 4]) + content[-8:],
        lambda _: b"\x80\x04\x95 something else altogether" * 10,
    ],
    ids=["short", "half", "stub", "empty", "bit in paths", "bit in facts", "foreign"],
)
def test_a_damaged_cache_is_rebuilt(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """A cache that isn't whole is neither trusted nor fatal: everything is read again."""
    manifest = written(tmp_path)
    first = check(manifest)
    cache = tmp_path / "facts"
    cache.write_bytes(damage(cache.read_bytes()))
    rebuilt = check(manifest)
    assert (first.arrays, facts_of(first)) == (rebuilt.arrays_read, facts_of(rebuilt))
    assert 0 == check(manifest).arrays_read


def test_a_cache_that_cannot_be_written_is_only_a_note(tmp_path: Path) -> None:
    """The check goes on without its memory, and says so."""
    manifest = written(tmp_path)
    (tmp_path / "facts").mkdir()
    checked = check(manifest)
    assert PAIRS == len(checked.pairs)
    (note,) = checked.notes
    assert "can't be cached" in note
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".new")]


def test_two_sets_share_one_cache(tmp_path: Path) -> None:
    """Training and validation remember their arrays in one file without losing the other's."""
    train, validation = written(tmp_path), written(tmp_path, 3, split="val")
    check(train)
    check(validation)
    assert (0, 0) == (check(train).arrays_read, check(validation).arrays_read)


def test_an_interrupted_check_keeps_what_it_has_read(tmp_path: Path) -> None:
    """After Ctrl-C in the middle the next start reads only the rest."""
    manifest = written(tmp_path, 60)

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(manifest, progress=interrupt)
    checked = check(manifest)
    assert 0 < checked.arrays_read < checked.arrays
