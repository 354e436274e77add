"""The files that Lightning saves in a protected fit: its own in content and name, durable and whole."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

pytest.importorskip("lightning")

import lightning.pytorch as lightning
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

import unbroken
from support import lightning_fits as fits
from support import lightning_kinds as kinds
from support.sameness import same
from unbroken.checkpoint import disk
from unbroken.checkpoint.system import System
from unbroken.integrations.lightning import protect
from unbroken.integrations.lightning.checkpoint_io import DurableCheckpointIO
from unbroken.integrations.lightning.written_files import WrittenFiles

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, about small programs


def test_a_file_is_loadable_and_has_what_lightning_puts_into_it(tmp_path: Path) -> None:
    """`load_from_checkpoint` reads a file of a protected fit: the weights at the end."""
    trainer, module = fits.made("automatic", tmp_path, max_epochs=1)
    trainer.fit(module, **kinds.KINDS["automatic"].loaders())
    found = kinds.Fitted.load_from_checkpoint(tmp_path / "files" / "last.ckpt")
    assert same(dict(module.state_dict()), dict(found.state_dict()))
    saved = torch.load(tmp_path / "files" / "last.ckpt", weights_only=True)
    assert {"state_dict", "loops", "callbacks", "optimizer_states", "lr_schedulers"} <= set(saved)


@pytest.mark.slow
def test_files_without_a_given_place_are_those_of_one_fit(tmp_path: Path) -> None:
    """Where Lightning chooses the directory, a fit that was cut off writes all its files into one."""
    found = []
    for name, cuts in (("whole", [None]), ("cut", [("training", 11, kinds.CutError), None])):
        for cut in cuts:
            lightning.seed_everything(7, verbose=False)
            trainer = lightning.Trainer(
                default_root_dir=tmp_path / name, accelerator="cpu", max_epochs=3,
                enable_progress_bar=False, enable_model_summary=False,
                callbacks=[ModelCheckpoint(save_top_k=-1, every_n_train_steps=2)],
            )  # fmt: skip
            protect(trainer, save_every=4)
            with nullcontext() if cut is None else pytest.raises(kinds.CutError):
                trainer.fit(kinds.Fitted(cut=cut), **kinds.KINDS["automatic"].loaders())
        files = (tmp_path / name).rglob("*.ckpt")
        found.append(sorted(str(each.relative_to(tmp_path / name)) for each in files))
    assert 9 == len(found[0])
    assert found[0] == found[1]


def test_a_file_is_flushed_before_it_has_its_name(tmp_path: Path) -> None:
    """A file is written aside, flushed, and only then renamed; its directory is flushed as well."""
    done: list[str] = []

    class Told(System):
        def sync(self, descriptor: int) -> None:
            done.append("sync")
            super().sync(descriptor)

        def rename(self, source: Path, target: Path) -> None:
            done.append(f"rename to {target.name}")
            super().rename(source, target)

        def sync_directory(self, path: Path) -> None:
            done.append("sync the directory")
            super().sync_directory(path)

    io = DurableCheckpointIO(TorchCheckpointIO(), done.append)
    with patch.object(disk, "system", Told()):
        io.save_checkpoint({"a": torch.ones(2)}, tmp_path / "a.ckpt")
    assert done[0] == str(tmp_path / "a.ckpt")
    assert done.index("sync") < done.index("rename to a.ckpt")
    assert "sync the directory" == done[-1]
    assert ["a.ckpt"] == os.listdir(tmp_path)  # noqa: PTH208  # hidden ones too


def test_a_file_that_was_there_survives_a_save_that_fails(tmp_path: Path) -> None:
    """Where the disk refuses, the old file stays, and the error says so."""

    class Full(System):
        def write(self, descriptor: int, data: Any) -> int:
            del descriptor, data
            raise OSError(28, "No space left on device")

    io = DurableCheckpointIO(TorchCheckpointIO(), lambda _: None)
    io.save_checkpoint({"a": 1}, tmp_path / "a.ckpt")
    with (
        patch.object(disk, "system", Full()),
        pytest.raises(unbroken.SaveFailed, match="No space left"),
    ):
        io.save_checkpoint({"a": 2}, tmp_path / "a.ckpt")
    assert {"a": 1} == io.load_checkpoint(tmp_path / "a.ckpt")
    io.remove_checkpoint(tmp_path / "a.ckpt")
    assert [] == os.listdir(tmp_path)  # noqa: PTH208  # likewise


class Files:
    """A callback that asks whether a file is there."""

    state_key = "files"
    dirpath: str | None = None

    def file_exists(self, filepath: str, trainer: Any) -> bool:
        del trainer
        return Path(filepath).exists()


def test_a_file_of_steps_that_are_repeated_keeps_its_name(tmp_path: Path) -> None:
    """Of a file that was written beyond the checkpoint it is said that it isn't there, until it is again."""
    before, beyond = tmp_path / "before", tmp_path / "beyond"
    files = WrittenFiles(tmp_path)
    files.go_on_from(0, [Files()])
    for path, step in ((before, 3), (beyond, 4)):
        files.note(path, step)
        path.touch()
    files.close()
    callback = Files()
    files = WrittenFiles(tmp_path)
    files.go_on_from(4, [callback])
    assert callback.file_exists(str(before), None)
    assert not callback.file_exists(str(beyond), None)
    files.note(beyond, 4)
    assert callback.file_exists(str(beyond), None)
    files.close()


def test_a_callback_without_a_place_writes_where_it_wrote(tmp_path: Path) -> None:
    """A directory that Lightning chose at the first start is that of the next one."""
    callback = Files()
    callback.dirpath = "version_0"
    files = WrittenFiles(tmp_path)
    files.go_on_from(0, [callback])
    files.close()
    other = Files()
    WrittenFiles(tmp_path).place_callbacks([other])
    assert "version_0" == other.dirpath
