"""`unbroken bundle`: everything that helps, no weights, no secrets, from whatever is left of a run."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from support.toy_training import build, train
from unbroken.checkpoint.layout import Layout
from unbroken.cli.main import main
from unbroken.doctor.bundle import shown_command, without_secrets


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was resumed once, with a report and a log as the trainer leaves them."""
    directory = tmp_path_factory.mktemp("home") / "someone" / "run"
    for until in (4, 7):
        training = build(directory, facts={"corpus": str(directory / "corpus")})
        train(training, until)
        training.run.close()
    logs = Layout(directory).logs
    logs.mkdir()
    text = "".join(f"early line {i}\n" for i in range(500))
    text += "Resumed run abc from step-00000003\n"
    text += "".join(f"[Train] step={i}\n" for i in range(500))
    (logs / "console.log").write_text(text, encoding="utf-8")
    for number in range(5):
        (logs / f"resume-{number}-20260101-000000.txt").write_text("report", encoding="utf-8")
        (logs / f"resume-{number}-20260101-000000.json").write_text("{}", encoding="utf-8")
    return directory


def bundled(run: Path, tmp_path: Path) -> dict[str, str]:
    output = tmp_path / "bundle.zip"
    assert 0 == main(["bundle", str(run), "-o", str(output)])
    with zipfile.ZipFile(output) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_everything_that_helps_is_inside(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Command, versions, facts, reports, history, log, journal, manifests, diagnosis; all listed."""
    files = bundled(whole, tmp_path)
    assert Path(sys.orig_argv[-1]).name in files["command.txt"]
    assert json.loads(files["versions.json"])["torch"]
    assert "corpus" in files["checkpoints/step-00000007/facts.json"]
    assert "leaves" in files["checkpoints/step-00000007/manifest.json"]
    assert 2 == files["history.jsonl"].count('"event": "start"')
    assert 7 == files["journal-end.jsonl"].count("\n")
    assert 6 == sum(name.startswith("reports/") for name in files)
    assert 1 == len(json.loads(files["doctor.json"])["resumptions"])
    log = files["console-after-resume.txt"]
    assert 20 == log.partition("Resumed run")[0].count("\n")
    assert (True, False) == ("step=49\n" in log, "step=50\n" in log)
    shown = capsys.readouterr().out
    for name in files:
        assert name in shown
    assert all(name in files["README.txt"] for name in files if name != "README.txt")


def test_no_weights_and_no_secrets_are_inside(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No tensor file, no environment variable, no home directory, no login; the run is untouched."""
    monkeypatch.setenv("HOME", str(whole.parent))
    monkeypatch.setenv("USERPROFILE", str(whole.parent))
    monkeypatch.setenv("MY_VARIABLE", "a-value-of-the-environment")
    history = Layout(whole).history
    before = history.read_bytes()
    files = bundled(whole, tmp_path)
    everything = "".join(files.values())
    assert str(whole.parent) not in everything
    assert "~/run/corpus" in everything
    assert "a-value-of-the-environment" not in everything
    assert not any(name.endswith((".safetensors", ".pth", ".pt")) for name in files)
    assert (tmp_path / "bundle.zip").stat().st_size < 200_000
    assert before == history.read_bytes()


def test_what_looks_like_a_secret_is_left_out() -> None:
    """Flags, assignments and addresses with a login; other words stay as they are."""
    words = ["python", "t.py", "--hub-token", "abc", "--api-key=def", "--epochs", "3", "a b"]
    assert "python t.py --hub-token '***' '--api-key=***' --epochs 3 'a b'" == shown_command(words)
    assert "at https://***@host/x" == without_secrets("at https://me:pw@host/x")
    assert '"hf_token": "***"' == without_secrets('"hf_token": "abc"')
    assert '["a", "--hub-token", "***"]' == without_secrets('["a", "--hub-token", "abc"]')
    assert "t.py --api-key *** --amp" == without_secrets("t.py --api-key abc --amp")
    plain = '"tokens/s=12", "tokenizer": "x", "start_text_token": 0'
    assert plain == without_secrets(plain)
    assert "t.py --tokenizer a.model" == shown_command(["t.py", "--tokenizer", "a.model"])


@pytest.mark.parametrize("left", ["journal.jsonl", "history.jsonl", "logs", "checkpoints"])
def test_what_is_left_of_a_run_is_bundled(whole: Path, tmp_path: Path, left: str) -> None:
    """Damaged and missing files: the rest is collected, nothing crashes."""
    ruin = tmp_path / "ruin"
    ruin.mkdir()
    if (whole / left).is_dir():
        shutil.copytree(whole / left, ruin / left)
    else:
        shutil.copy(whole / left, ruin / left)
    for path in (each for each in ruin.rglob("*") if each.is_file()):
        path.write_bytes(b"\xff\x00" + path.read_bytes()[: path.stat().st_size // 2])
    (ruin / "run.json").write_bytes(b"{")
    assert "files.txt" in bundled(ruin, tmp_path)


def test_nothing_is_bundled_or_overwritten_by_mistake(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty directory: exit code 4; an output that is there: 2, untouched; a bad place: 5."""
    (tmp_path / "empty").mkdir()
    assert 4 == main(["bundle", str(tmp_path / "empty"), "-o", str(tmp_path / "a.zip")])
    assert 4 == main(["bundle", str(tmp_path / "nowhere"), "-o", str(tmp_path / "a.zip")])
    assert not (tmp_path / "a.zip").exists()
    (tmp_path / "b.zip").write_text("mine", encoding="utf-8")
    assert 2 == main(["bundle", str(whole), "-o", str(tmp_path / "b.zip")])
    assert "mine" == (tmp_path / "b.zip").read_text(encoding="utf-8")
    assert 5 == main(["bundle", str(whole), "-o", str(tmp_path / "no" / "c.zip")])
    assert "Traceback" not in capsys.readouterr().err
