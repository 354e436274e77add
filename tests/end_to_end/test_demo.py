"""The demo, tiny: real speech, real trainings, a real SIGKILL, and a voice that speaks from the runs."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unbroken.errors import SettingsInvalid
from unbroken_tts.cli.main import main
from unbroken_tts.demo.proof import ProofRow, prove
from unbroken_tts.demo.scale import QUICK
from unbroken_tts.demo.show import PAGE, PICTURE, show
from unbroken_tts.demo.story import Story

TINY = replace(
    QUICK,
    name="tiny",
    amharic=40,
    voices=1,
    val_ratio=0.2,
    english=30,
    base_vocabulary=100,
    vocabulary=220,
    width=32,
    layers=2,
    heads=2,
    base_steps=2,
    steps=12,
    save_every=4,
    warmup=2,
    kills=1,
    spoken=2,
    unseen=1,
    candidates=4,
)


@dataclass(frozen=True)
class Shown:
    """A demo that was run."""

    output: Path
    story: Story

    def say(self, target: Path, *more: str, text: str = "ሰላም ለዓለም።") -> int:
        """Speak with the killed run."""
        words = [str(self.story.runs.killed), str(target), "--text", text, "--speaker", "am"]
        given = {word for word in more if word.startswith("--")}
        kept = words[:2] + [
            word
            for flag, value in zip(words[2::2], words[3::2], strict=True)
            if flag not in given
            for word in (flag, value)
        ]
        return main(["say", *kept, *more])


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Run a tiny demo."""
    output = tmp_path_factory.mktemp("demo") / "out"
    return Shown(output, show(output, TINY, kill_seed=3))


def rows_named(rows: Sequence[ProofRow], word: str) -> list[ProofRow]:
    return [row for row in rows if word in row.what]


def test_the_killed_run_is_proved_equal(shown: Shown) -> None:
    """Samples, losses, rates, weights, optimiser, frozen rows and audio: every digest agrees."""
    rows = shown.story.rows
    assert [] == [row.what for row in rows if not row.is_equal]
    for word in ("samples", "losses", "learning", "weights", "optimiser", "frozen", "audio"):
        assert rows_named(rows, word), word
    assert "0 steps" != rows_named(rows, "repeated")[0].size, "nothing was lost by the kill"


def test_one_changed_number_is_found(shown: Shown, tmp_path: Path) -> None:
    """The last digit of one loss, of one learning rate, or one code: only its row differs."""
    runs = replace(shown.story.runs, killed=tmp_path / "B")
    shutil.copytree(shown.story.runs.killed, runs.killed)
    journal = runs.killed / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    lines[-1]["mel_loss"] = math.nextafter(lines[-1]["mel_loss"], 0)
    lines[-2]["lr"] = math.nextafter(lines[-2]["lr"], 1)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    journal.write_text(text, encoding="utf-8", newline="\n")
    speech = dict(shown.story.speech)
    speech["B"] = [replace(speech["B"][0], codes=[1, 2]), *speech["B"][1:]]
    rows = prove(runs, TINY.steps, speech)
    differing = {row.what for row in rows if not row.is_equal}
    assert {"losses", "learning rates", "codes spoken"} == differing


def test_the_page_needs_nothing_but_itself(shown: Shown) -> None:
    """Players and picture are inside; nothing is loaded from elsewhere."""
    page = (shown.output / PAGE).read_text(encoding="utf-8")
    players = 3 * (TINY.spoken + TINY.unseen)
    assert players == page.count('src="data:audio/wav;base64,')
    assert 1 == page.count('src="data:image/png;base64,')
    assert [] == re.findall(r'(?:src|href)="(?!data:)', page)
    assert len(shown.story.rows) == page.count('<td class="equal">equal</td></tr>') - (
        TINY.spoken + TINY.unseen
    )
    assert (shown.output / PICTURE).read_bytes().startswith(b"\x89PNG")


def test_a_foreign_directory_is_left_alone(tmp_path: Path) -> None:
    """The demo never writes among somebody else's files."""
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(SettingsInvalid, match="not the directory of a demo"):
        show(tmp_path, TINY, kill_seed=0)
    assert ["thesis.txt"] == [path.name for path in tmp_path.iterdir()]


def test_a_run_speaks_without_being_told_what_belongs_to_it(shown: Shown, tmp_path: Path) -> None:
    """The run remembers tokenizer, codec and speakers; the same command gives the same bytes."""
    digests = set()
    for name in ("one.wav", "two.wav"):
        assert 0 == shown.say(tmp_path / name)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert 1 == len(digests)
    assert 22_050 == soundfile.info(str(tmp_path / "one.wav")).samplerate
    assert 0 == shown.say(tmp_path / "three.wav", "--seed", "5", "--temperature", "2")
    assert (tmp_path / "three.wav").read_bytes() != (tmp_path / "one.wav").read_bytes()


def test_an_exported_voice_says_the_same(shown: Shown, tmp_path: Path) -> None:
    """gpt.pth with its configuration, tokenizer and codec speaks as the run does."""
    data = min((shown.output / "data").iterdir())
    run = shown.story.runs.killed
    assert 0 == main(["export", str(run), str(tmp_path / "gpt.pth")])
    told = {
        "--config": data / "config.yaml",
        "--tokenizer": data / "amharic" / "tokenizer.model",
        "--codec": data / "codec",
        "--manifest": data / "amharic" / "train_pairs.jsonl",
    }
    words = ["--text", "ሰላም", "--speaker", "am", "--greedy"]
    flags = [str(word) for pair in told.items() for word in pair]
    assert 0 == main(["say", str(tmp_path / "gpt.pth"), str(tmp_path / "a.wav"), *words, *flags])
    assert 0 == main(["say", str(run), str(tmp_path / "b.wav"), *words])
    assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "a.wav").read_bytes()


def test_a_recording_and_an_array_condition_the_voice(shown: Shown, tmp_path: Path) -> None:
    """A recording means what its prepared conditioning means."""
    data = min((shown.output / "data").iterdir())
    array = min((data / "amharic" / "condition").glob("*.npy"))
    recording = shown.output / "corpus" / "tiny" / "am" / "wavs" / f"{array.stem}.wav"
    assert 0 == shown.say(tmp_path / "a.wav", "--speaker", str(array), "--greedy")
    assert 0 == shown.say(tmp_path / "b.wav", "--speaker", str(recording), "--greedy")
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_unknown_letters_are_named(
    shown: Shown, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the tokenizer has no piece for is said, not passed over."""
    assert 0 == shown.say(tmp_path / "x.wav", text="ሰላም ж")
    assert "the tokenizer has no piece for: Ж" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--speaker", "am_f9"], "There is no speaker 'am_f9'.*one of: am"),
        (["--text", " ። "], "contains no letter and no number"),
        (["--text", "ሰላም " * 200], "the model has positions for 120"),
        (["--temperature", "0"], "temperature 0.0, must be above 0"),
        (["--seed", "-1"], "--seed is -1"),
        (["--codec", "nowhere"], "codec.json can't be read"),
        (["--tokenizer", "BASE"], "The ids would stand for other pieces"),
        (["--speaker", "WRONG"], r"the model needs finite float32 \[4, 32\]"),
    ],
)
def test_bad_input_is_one_message_and_no_file(
    shown: Shown,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    message: str,
) -> None:
    """Exit code 2, what and why and what to do, nothing written."""
    wrong = tmp_path / "wrong.npy"
    np.save(wrong, np.zeros((3, 3), dtype=np.float32))
    base = min((shown.output / "data").iterdir()) / "english" / "tokenizer.model"
    named = {"BASE": str(base), "WRONG": str(wrong)}
    (tmp_path / "emo_vec").mkdir()
    given = [named.get(word, word) for word in flags]
    if "WRONG" in flags:
        given += ["--emotion", "am"]
    assert 2 == shown.say(tmp_path / "out.wav", *given)
    assert re.search(message, capsys.readouterr().err.replace("\n", " "))
    assert not (tmp_path / "out.wav").exists()


def test_a_file_that_is_there_is_kept(shown: Shown, tmp_path: Path) -> None:
    """Without --force nothing is replaced."""
    target = tmp_path / "mine.wav"
    target.write_bytes(b"mine")
    assert 2 == shown.say(target)
    assert b"mine" == target.read_bytes()
    assert 0 == shown.say(target, "--force")
    assert b"RIFF" == target.read_bytes()[:4]
