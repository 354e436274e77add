"""Damaged, hostile and foreign files are refused by name, and nothing in them is run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from support.legacy_fixture import VOCABULARY, legacy_config
from support.old_run import Content, OldRuns, recorded_content
from support.tiny_trainer import contents
from unbroken import DataInvalid, SettingsInvalid
from unbroken_tts.rescue import old_checkpoint
from unbroken_tts.rescue.old_checkpoint import read_old
from unbroken_tts.rescue.whole import require_whole


class Payload:
    """An object that would create a file when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the call that an unpickler makes."""
        return os.mkdir, (str(self.place),)


@pytest.fixture(scope="module")
def whole(old_runs: OldRuns, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the bytes of a whole file."""
    return old_runs.write(tmp_path_factory.mktemp("whole") / "latest.pth").read_bytes()


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flipped(content: bytes) -> bytes:
    at = content.index(b"PK\x03\x04", len(content) // 2) - 64  # within the tensor before
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_cut, id="truncated"),
        pytest.param(_flipped, id="one bit flipped"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda _: b"PK\x03\x04" + bytes(100), id="zeros"),
        pytest.param(lambda _: b"\x80\x02}q\x00.", id="a bare pickle"),
    ],
)
def test_damaged_bytes_are_exit_code_4(
    old_runs: OldRuns, whole: bytes, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    """The file is named, and the directory stays as it was: no run begins at step 0."""
    (tmp_path / "latest.pth").write_bytes(damage(whole))
    before = contents(tmp_path, but=())
    ended = old_runs.start("train", "--output-dir", tmp_path, "--resume", "auto")
    assert ended.code == 4, ended.err
    assert str(tmp_path / "latest.pth") in ended.err
    assert before == contents(tmp_path, but=())


def test_code_in_a_file_is_never_run(old_runs: OldRuns, tmp_path: Path) -> None:
    """A pickle with a call is refused by name, and the call is not made."""
    mark = tmp_path / "was-run"
    old_runs.write(tmp_path / "old/latest.pth", lambda c: c.update(extra=Payload(mark)))
    ended = old_runs.start("rescue", tmp_path / "old")
    assert ended.code == 4, ended.err
    assert str(tmp_path / "old/latest.pth") in ended.err
    assert "no code in one is ever run" in ended.err
    assert not mark.exists()


def _set(*path: Any, value: Any) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        at: Any = content
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value

    return change


def _drop(*path: Any) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        at: Any = content
        for key in path[:-1]:
            at = at[key]
        del at[path[-1]]

    return change


HEAD = ("optimizer", "state", 146)
CHANGES: dict[str, tuple[Callable[[Content], object], str]] = {
    "no optimizer": (_drop("optimizer"), "lacks 'optimizer'"),
    "no step": (_drop("step"), "lacks 'step'"),
    "a step of text": (_set("step", value="24"), "'24' as 'step'"),
    "a step of truth": (_set("step", value=True), "True as 'step'"),
    "a negative batch": (_set("batch_idx", value=-1), "-1 as 'batch_idx'"),
    "an absurd epoch": (_set("epoch", value=10**30), "as 'epoch'"),
    "no batch at all": (_set("batch_size", value=0), "0 x 3"),
    "a schedule ahead": (_set("scheduler", "last_epoch", value=25), "moved on 25 times"),
    "a rate of nothing": (_set("scheduler", "_last_lr", value=[float("nan")]), "'_last_lr'"),
    "two rates": (_set("scheduler", "base_lrs", value=[1e-3, 1e-3]), "'base_lrs'"),
    "a list of weights": (_set("model", value=[]), "list as 'model'"),
    "a scaler of text": (_set("scaler", value={"scale": "x"}), "gradient scaler"),
    "no weight decay": (_drop("optimizer", "param_groups", 0, "weight_decay"), "weight decay"),
    "two groups": (_set("optimizer", "param_groups", value=[{}, {}]), "one AdamW"),
    "other betas": (_set("optimizer", "param_groups", 0, "betas", value=(0.5, 0.9)), "betas"),
    "moments of nobody": (_set("optimizer", "state", 999, value={}), "parameter 999"),
    "moments missing": (_drop(*HEAD), "no moments of text_head.weight"),
    "a moment missing": (_drop(*HEAD, "exp_avg"), "incomplete moments of text_head.weight"),
    "moments of another shape": (
        _set(*HEAD, "exp_avg_sq", value=torch.zeros(24, 301)),
        "[24, 301] of text_head.weight",
    ),
    "negative squares": (
        _set(*HEAD, "exp_avg_sq", value=torch.full((301, 24), -1.0)),
        "impossible moments",
    ),
    "moments of a later step": (_set(*HEAD, "step", value=torch.tensor(25.0)), "impossible"),
    "a weight that is NaN": (
        _set("model", "gpt.ln_f.weight", value=torch.full((24,), torch.nan)),
        "NaN or infinity: gpt.ln_f.weight",
    ),
    "an infinite moment": (
        _set(*HEAD, "exp_avg", value=torch.full((301, 24), torch.inf)),
        "impossible moments",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_could_not_be_continued_is_said(old_runs: OldRuns, tmp_path: Path, name: str) -> None:
    """Each fault has its own words, with the file."""
    change, words = CHANGES[name]
    path = old_runs.write(tmp_path / "latest.pth", change)
    with pytest.raises(DataInvalid) as error:
        require_whole(read_old(path), legacy_config(), VOCABULARY)
    assert str(path) in error.value.what
    assert words in error.value.what


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every container and value, of weights and moments only a few."""
    if path:
        yield path
    if isinstance(value, dict | list):
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        for key in keys if len(keys) < 20 else keys[-1:]:
            yield from _places(value[key], (*path, key))


GARBAGE: tuple[Any, ...] = (
    None, "x", True, float("inf"), {"a": 1}, torch.zeros(3), torch.ones(2, 24).to_sparse(),
)  # fmt: skip


def test_no_value_in_a_file_can_crash_the_program(
    old_runs: OldRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands in the place of any value: the file is refused, or the value doesn't matter."""
    path = old_runs.write(tmp_path / "latest.pth")
    whole = recorded_content()
    whole["rng_state"] = None
    found: list[bool] = []
    monkeypatch.setattr("unbroken_tts.rescue.whole.require_readable", id)
    for place in _places(whole):
        for each in GARBAGE:
            content = _copied(whole)
            _set(*place, value=each)(content)
            monkeypatch.setattr(old_checkpoint, "read_archive", lambda _, found=content: found)
            with contextlib.suppress(DataInvalid, SettingsInvalid):
                require_whole(read_old(path), legacy_config(), VOCABULARY)
                found.append(True)
                continue
            found.append(False)
    assert len(found) > 300
    assert found.count(False) > 150


def _copied(value: Any) -> Any:
    """Return a copy of all containers, with the same tensors."""
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value


def test_a_step_that_is_not_the_name_s_is_refused(old_runs: OldRuns, tmp_path: Path) -> None:
    """A renamed file stands for another step."""
    path = old_runs.write(tmp_path / "model_step8.pth")
    with pytest.raises(DataInvalid, match="not the step of its name"):
        read_old(path)


def test_the_file_of_another_model_is_refused(old_runs: OldRuns, tmp_path: Path) -> None:
    """A foreign file under the name is told with what doesn't fit."""
    old_runs.write(
        tmp_path / "latest.pth", _set("model", "mel_head.weight", value=torch.zeros(514, 25))
    )
    ended = old_runs.start("rescue", tmp_path)
    assert ended.code == 2, ended.err
    assert "mel_head.weight is [514, 25]" in ended.err


def test_another_tokenizer_is_refused(old_runs: OldRuns, tmp_path: Path) -> None:
    """A larger one as well: rows of the text tables would stand for nothing."""
    old_runs.write(tmp_path / "latest.pth")
    with pytest.raises(Exception, match="300 text tokens, the tokenizer 320") as error:
        require_whole(read_old(tmp_path / "latest.pth"), legacy_config(), 320)
    assert "--init-from" in str(error.value)


@pytest.mark.parametrize("what", ["nothing", "a directory that isn't there", "a file of weights"])
def test_where_there_is_no_old_run(old_runs: OldRuns, tmp_path: Path, what: str) -> None:
    """`rescue` says so, and begins nothing."""
    place = tmp_path / "old"
    if what != "a directory that isn't there":
        place.mkdir()
    if what == "a file of weights":
        place = old_runs.root / "gpt.pth"
    output = ("--output-dir", tmp_path / "new") if place.suffix else ()
    ended = old_runs.start("rescue", place, *output)
    assert ended.code == 4, ended.err
    assert str(place) in ended.err
    assert [] == [each.name for each in tmp_path.rglob("*") if each.is_file()]
    assert place.exists() == (what != "a directory that isn't there")
