"""What a start continues: a run, a checkpoint, an older one, or nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.tiny_trainer import (
    STEPS,
    TinyTrainer,
    contents,
    journal,
    newest,
    require_equal,
)
from unbroken.checkpoint import disk, run_directory
from unbroken.checkpoint.layout import Layout
from unbroken.run.resume import run_id_of


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished run."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def test_auto_begins_where_there_is_no_run(trainer: TinyTrainer, tmp_path: Path) -> None:
    """An empty directory, or none, begins a run; the line says so."""
    ended = trainer.start(tmp_path / "new" / "deep", "--max-steps", 1)
    assert ended.code == 0, ended.err
    assert len(ended.lines("Began run")) == 1
    assert newest(tmp_path / "new" / "deep").position.step == 1


def test_a_finished_run_stays_as_it_is(trainer: TinyTrainer, copied: Path) -> None:
    """The same command once more trains nothing and ends well."""
    before = contents(copied / "checkpoints")
    ended = trainer.start(copied)
    assert ended.code == 0, ended.err
    assert before == contents(copied / "checkpoints")
    assert len(ended.lines("Training complete: 22 steps")) == 1


@pytest.mark.parametrize("how", ["latest", "nowhere", "latest.pth", "checkpoints/step-00000099"])
def test_what_is_asked_for_and_not_there_is_exit_code_4(
    trainer: TinyTrainer, tmp_path: Path, how: str
) -> None:
    """Nothing else is taken in its place, and nothing begins."""
    asked = how if how == "latest" else str(tmp_path / "run" / how)
    ended = trainer.start(tmp_path / "run", resume=asked)
    assert ended.code == 4, ended.err
    assert run_id_of(Layout(tmp_path / "run")) is None
    assert len(ended.err.splitlines()) == 3


@pytest.mark.parametrize("what", ["", "latest", "latest.pth", "checkpoints/step-00000022"])
def test_a_run_is_found_under_each_of_its_names(
    trainer: TinyTrainer, copied: Path, what: str
) -> None:
    """The directory, `latest`, the earlier trainer's name for it, and a checkpoint are the run."""
    ended = trainer.start(copied, resume=str(copied / what))
    assert ended.code == 0, ended.err
    assert "step 22" in ended.lines("Resumed run")[0]
    assert ("is understood as the latest checkpoint" in ended.out) == what.startswith("latest")


def test_a_run_elsewhere_goes_on_elsewhere(
    trainer: TinyTrainer, copied: Path, tmp_path: Path
) -> None:
    """A path beats the output directory, which stays empty; a note says so."""
    ended = trainer.start(tmp_path / "output", resume=str(copied))
    assert ended.code == 0, ended.err
    assert any("not in --output-dir" in line for line in ended.lines("NOTE: "))
    assert not (tmp_path / "output").exists()


def test_an_older_checkpoint_sets_the_newer_ones_aside(
    trainer: TinyTrainer, whole: Path, copied: Path
) -> None:
    """The future that was given up is kept, and training again gives it once more."""
    kept = sorted(path.name for path in (copied / "checkpoints").iterdir())
    ended = trainer.start(copied, resume=str(copied / "checkpoints/step-00000016"))
    assert ended.code == 0, ended.err
    aside = {path.name.rpartition(".")[0] for path in (copied / "superseded").iterdir()}
    assert {name for name in kept if name > "step-00000016"} == aside
    require_equal(whole, copied)


def test_checkpoints_without_their_run_are_gone_on_from_by_name(
    trainer: TinyTrainer, whole: Path, copied: Path
) -> None:
    """A lost `run.json` is no reason to begin at step 0; the flag that is named goes on."""
    place = newest(copied).path
    (copied / "run.json").unlink()
    ended = trainer.start(copied)
    assert ended.code == 4
    assert f"--resume {place}" in ended.err
    assert not (copied / "superseded").exists()
    ended = trainer.start(copied, resume=str(place))
    assert ended.code == 0, ended.err
    assert run_id_of(Layout(whole)) == run_id_of(Layout(copied))
    assert trainer.start(copied).code == 0


def test_one_file_has_one_place_however_it_is_written(
    trainer: TinyTrainer, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a relative path nor one over a link is noted as a change."""
    monkeypatch.chdir(trainer.root)
    (tmp_path / "link").symlink_to(trainer.root)
    for data, tokenizer in (("data", "data/../tok.model"), (tmp_path / "link/data", "tok.model")):
        ended = trainer.start(
            copied, "--train-manifest", f"{data}/train_pairs.jsonl", "--tokenizer", tokenizer
        )
        assert ended.code == 0, ended.err
        assert not ended.lines("NOTE: changed")


@pytest.mark.parametrize("how", ["auto", "latest"])
def test_files_of_the_earlier_trainer_are_never_begun_over(
    trainer: TinyTrainer, tmp_path: Path, how: str
) -> None:
    """Step 0 in silence beside damaged files of a half-trained model is refused, each by name."""
    (tmp_path / "model_step24.pth").write_bytes(b"precious")
    (tmp_path / "latest.pth").write_bytes(b"precious")
    ended = trainer.start(tmp_path, resume=how)
    assert ended.code == 4
    assert all(str(tmp_path / name) in ended.err for name in ("latest.pth", "model_step24.pth"))
    assert {"model_step24.pth", "latest.pth"} == set(contents(tmp_path))


def test_a_file_of_the_earlier_trainer_is_no_checkpoint(
    trainer: TinyTrainer, tmp_path: Path
) -> None:
    """Named outright it is refused as well, with the verbs that continue it and take its weights."""
    old = tmp_path / "model_step24.pth"
    old.write_bytes(b"precious")
    ended = trainer.start(tmp_path / "run", resume=str(old))
    assert ended.code == 4
    assert f"--init-from {old}" in ended.err
    assert f"unbroken-tts rescue {old}" in ended.err


def test_a_new_run_beside_files_of_the_earlier_trainer_leaves_them(
    trainer: TinyTrainer, tmp_path: Path
) -> None:
    """Retention deletes only what this run wrote."""
    old = [tmp_path / name for name in ("latest.pth", "model_step5000.pth")]
    for path in old:
        path.write_bytes(b"precious")
    flags = ("--save-interval", 1, "--keep-checkpoints", 1, "--max-steps", 3)
    ended = trainer.start(tmp_path, *flags, resume="")
    assert ended.code == 0, ended.err
    assert [b"precious"] * 2 == [path.read_bytes() for path in old]


def test_a_new_run_moves_the_old_one_whole_and_says_how_to_go_back(
    trainer: TinyTrainer, whole: Path, tmp_path: Path
) -> None:
    """Nothing is overwritten; the run that was moved goes on to the last bit from its new place."""
    trainer.stop(tmp_path, at=6, samples=3)
    before = contents(tmp_path)
    ended = trainer.start(tmp_path, "--seed", 5, "--max-steps", 2, resume="")
    assert ended.code == 0, ended.err
    note = next(line for line in ended.lines("NOTE: ") if "moved" in line)
    place = Path(note.rpartition("--resume ")[2])
    assert place.parent == tmp_path / "earlier"
    assert before == contents(place)
    assert sorted(journal(tmp_path)) == [1, 2]
    back = trainer.start(tmp_path, resume=str(place))
    assert back.code == 0, back.err
    require_equal(whole, place)
    assert sorted(journal(tmp_path)) == [1, 2], "the new run was touched"


@pytest.mark.parametrize("renames", range(1, 7))
@pytest.mark.parametrize("how", ["auto", "", "back"])
def test_a_move_cut_off_at_any_rename_loses_nothing(
    trainer: TinyTrainer,
    copied: Path,
    monkeypatch: pytest.MonkeyPatch,
    renames: int,
    how: str,
) -> None:
    """The next start completes it before anything new is written, or goes back to the old run."""
    before = contents(copied)
    for name in ("stdout.txt",):
        before.pop(name)
    done = 0
    original = disk.rename

    def rename(source: Path, target: Path) -> None:
        nonlocal done
        done += 1
        if done > renames:
            raise KeyboardInterrupt
        original(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "rename", rename)
        assert trainer.start(copied, "--max-steps", 1, resume="").code == 130
    place = min((copied / "earlier").iterdir())
    if how == "back":
        ended = trainer.start(copied, resume=str(place))
        assert f"step {STEPS}" in ended.lines("Resumed run")[0]
        before.pop("history.jsonl")
    else:
        ended = trainer.start(copied, "--max-steps", 1, resume=how)
        assert sorted(journal(copied)) == [1]
        places = sorted((copied / "earlier").iterdir(), key=lambda each: len(contents(each)))
        place = places[-1]
    assert ended.code == 0, ended.err
    after = contents(place)
    for name, digest in before.items():
        if not name.startswith("logs/"):
            assert digest == after[name], name


def test_a_move_cut_off_after_the_clock_was_set_back_finds_its_place(
    trainer: TinyTrainer, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of the run goes to its own directory, not to the one with the later date."""
    foreign = copied / "earlier/20990101-000000-0123456789ab"
    foreign.mkdir(parents=True)
    (foreign / "run.json").write_text("{}", encoding="utf-8")
    before = contents(copied / "checkpoints")
    with monkeypatch.context() as patch:
        patch.setattr(run_directory, "finish_moving", interrupted)
        assert trainer.start(copied, resume="").code == 130
    ended = trainer.start(copied, "--max-steps", 1)
    assert ended.code == 0, ended.err
    assert [foreign / "run.json"] == list(foreign.iterdir())
    (place,) = (each for each in (copied / "earlier").iterdir() if each != foreign)
    assert before == contents(place / "checkpoints")
    assert sorted(journal(copied)) == [1]


def interrupted(layout: Layout) -> None:
    """End where the move of a run has only begun."""
    raise KeyboardInterrupt


def spoil(checkpoint: Path) -> None:
    """Flip one bit of the weights, as a disk does in silence."""
    weights = checkpoint / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)


def test_a_damaged_checkpoint_is_passed_over(
    trainer: TinyTrainer, whole: Path, copied: Path
) -> None:
    """One flipped bit in the newest is seen; the one before it goes on to the same end."""
    spoil(newest(copied).path)
    ended = trainer.start(copied)
    assert ended.code == 0, ended.err
    assert any("skipped: " in line for line in ended.lines("NOTE: "))
    assert "step 22" not in ended.lines("Resumed run")[0]
    require_equal(whole, copied)


def test_a_damaged_checkpoint_named_outright_is_refused(trainer: TinyTrainer, copied: Path) -> None:
    """Nothing else is taken in its place, and where none is whole nothing begins at 0."""
    explicit = newest(copied).path
    for path in (copied / "checkpoints").iterdir():
        spoil(path)
    before = contents(copied)
    for how in (str(explicit), "auto", "latest"):
        ended = trainer.start(copied, resume=how)
        assert ended.code == 4, ended.err
    assert before == contents(copied)


def test_gradient_checkpointing_is_a_switch_that_changes_no_result(
    trainer: TinyTrainer, whole: Path, tmp_path: Path
) -> None:
    """Recomputed activations are the same, dropout included; it may be switched at a resume."""
    trainer.stop(tmp_path, at=6, samples=3)
    assert trainer.start(tmp_path, "--grad-checkpointing").code == 0
    require_equal(whole, tmp_path)
