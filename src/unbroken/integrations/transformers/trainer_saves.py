"""When the trainer saves: its folder appears when it is complete, and the best one stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from unbroken.integrations.transformers.folders import TrainerFolders, require_whole


class TrainerSaves:
    """Lets a trainer write its folders.

    Args:
        trainer: A `transformers.Trainer`.
        folders: In its output directory.
    """

    def __init__(self, trainer: Any, folders: TrainerFolders) -> None:
        self._trainer = trainer
        self.folders = folders

    def save(self, write: Callable[[], None]) -> None:
        """Have the trainer write its folder, let it appear, and delete those that are too many.

        Args:
            write: Has the trainer write into the hidden folder.

        Raises:
            SaveFailed: The disk refused; the folders that were there are untouched.
        """
        state, args = self._trainer.state, self._trainer.args
        name = f"checkpoint-{state.global_step}"
        with self.folders.saving(name) as folder:
            write()
            self._name_best(folder, name)
            if (folder / "trainer_state.json").is_file():
                state.save_to_json(str(folder / "trainer_state.json"))
        self.folders.keep(args.save_total_limit, state.best_model_checkpoint)

    def _name_best(self, folder: Path, name: str) -> None:
        """Name the folder of the best step by the path that it has, or gets now."""
        state, root = self._trainer.state, self.folders.root
        if state.best_model_checkpoint and Path(state.best_model_checkpoint) == folder:
            state.best_model_checkpoint = str(root / name)
        elif state.best_global_step and (root / f"checkpoint-{state.best_global_step}").is_dir():
            best = root / f"checkpoint-{state.best_global_step}"
            state.best_model_checkpoint = str(best)

    def require_best_whole(self) -> None:
        """Compare the best folder with what was saved, before its model is loaded.

        Raises:
            CheckpointCorrupt: It holds other bytes.
        """
        best = self._trainer.state.best_model_checkpoint
        if best and Path(best).is_dir():
            require_whole(Path(best))
