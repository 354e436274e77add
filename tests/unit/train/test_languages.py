"""Several languages in one training: their shares, their scores, and what is forgotten."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.pairs import write_pairs
from support.tiny_trainer import TinyTrainer, journal, leaf_digests
from unbroken import Mix
from unbroken_tts.data.manifest import load_pairs
from unbroken_tts.data.samples import PairDataset
from unbroken_tts.evaluate import SampleScore, Scores
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.languages import LanguageScore, by_language, forgotten, new_language
from unbroken_tts.train.mixing import mix_of, shares_of, told
from unbroken_tts.train.reading import ExchangedTexts, reading_gap


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training and validation data, three quarters in `am` and the others in `en`."""
    root = tmp_path_factory.mktemp("languages")
    for split, count in (("train", 48), ("val", 16)):
        path = write_pairs(root, count, split=split, seed=len(split))
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for number, row in enumerate(rows):
            row |= {"language": "", "target_language": "en" if number % 4 == 0 else "am"}
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return root


def flags(data: Path, *more: object) -> list[object]:
    """The flags of a training on these data."""
    return [
        *("--train-manifest", data / "train_pairs.jsonl"),
        *("--val-manifest", data / "val_pairs.jsonl"),
        *more,
    ]


def test_a_mixed_run_is_exact_on_resume(trainer: TinyTrainer, data: Path, tmp_path: Path) -> None:
    """Stopped within a step and continued, it ends as the one that was never stopped."""
    words = flags(data, "--mix", "am=0.5,en=0.5", "--max-steps", 14, "--val-interval", 7)
    whole = trainer.start(tmp_path / "whole", *words)
    assert whole.code == 0, whole.err
    assert "am 50 % of the tokens (36 samples, each once), en 50 % of the tokens (" in whole.out
    trainer.stop(tmp_path / "cut", *words, at=9, samples=3)
    cut = trainer.start(tmp_path / "cut", *words)
    assert cut.code == 0, cut.err
    assert "EXACT" in cut.out
    assert leaf_digests(tmp_path / "whole") == leaf_digests(tmp_path / "cut")
    assert journal(tmp_path / "whole") == journal(tmp_path / "cut")
    lines = whole.lines("[Val]")
    assert lines[0].startswith("[Val] step=0 ")
    assert lines[1].startswith("[Val] step=0 language=am ")
    assert lines[2].startswith("[Val] step=0 language=en ")
    assert all(" text_gap=" in line for line in lines if "language=" not in line)
    other = trainer.start(tmp_path / "cut", *flags(data, "--max-steps", 14))
    assert other.code == 3
    assert "mix" in other.out + other.err


def test_an_old_language_that_gets_worse_is_told(
    trainer: TinyTrainer, data: Path, tmp_path: Path
) -> None:
    """With a guard of nearly nothing, a language that isn't learnt raises the alarm."""
    words = flags(data, "--forgetting-guard", "1e-9", "--learning-rate", "5", "--grad-clip", 0)
    ended = trainer.start(tmp_path / "run", *words, "--max-steps", 3, "--val-interval", 3)
    assert ended.code == 0, ended.err
    assert "WARNING: en got worse: val_loss " in ended.out
    assert "WARNING: am" not in ended.out
    silent = trainer.start(
        tmp_path / "silent", *words, "--forgetting-guard", 0, "--max-steps", 3, "--val-interval", 3
    )
    assert "got worse" not in silent.out


@pytest.mark.parametrize(
    ("mix", "says"),
    [
        ("am=0.5", "--mix am=0.5 doesn't name exactly the languages of the training data"),
        ("am=0.5,en=0.2,fr=0.3", "am (36), en (12)"),
        ("am=0,en=1", "above 0"),
        ("am=1,am=2,en=1", "names a language twice"),
        ("am", "--mix"),
        ("am=a", "--mix"),
        ("am=-1,en=1", "--mix"),
    ],
)
def test_a_mix_that_makes_no_sense_is_told(
    trainer: TinyTrainer, data: Path, tmp_path: Path, mix: str, says: str
) -> None:
    """Exit code 2 with the languages that there are."""
    ended = trainer.start(tmp_path / "run", *flags(data, "--mix", mix))
    assert ended.code == 2
    assert says in ended.err


def score(name: str, mel: float, tokens: int = 10) -> SampleScore:
    return SampleScore(
        id=name, text_loss=1.0, mel_loss=mel, mel_top1=0.5, text_tokens=2, mel_tokens=tokens
    )


def scores(*each: SampleScore) -> Scores:
    tokens = sum(one.mel_tokens for one in each)
    return Scores(
        text_loss=1.0,
        mel_loss=sum(one.mel_loss * one.mel_tokens for one in each) / tokens,
        mel_top1=0.5,
        text_tokens=2 * len(each),
        mel_tokens=tokens,
        per_sample=list(each),
    )


def settings(**other: Any) -> TrainSettings:
    given = {"train_manifest": ("a",), "val_manifest": ("b",), "tokenizer": "c"}
    return TrainSettings.model_validate(given | other)


def test_scores_of_a_language_are_means_over_its_tokens() -> None:
    """As the scores of all; with one language there is nothing to tell apart."""
    found = scores(score("a", 2.0, 10), score("b", 5.0, 30), score("c", 1.0, 5))
    languages = {"a": "am", "b": "am", "c": "en"}
    am, en = by_language(found, languages, settings())
    assert (am.language, am.mel_loss) == ("am", (20 + 150) / 40)
    assert abs(en.loss - (0.2 * 1.0 + 0.8 * 1.0)) < 1e-12
    assert by_language(found, dict.fromkeys("abc", "am"), settings()) == []


def test_only_old_languages_are_guarded() -> None:
    """The guard is a share of the first value."""
    now = [
        LanguageScore(language=name, text_loss=0, mel_loss=0, mel_top1=0, loss=loss)
        for name, loss in (("am", 9.0), ("en", 1.06), ("zh", 1.04))
    ]
    before = {"am": 1.0, "en": 1.0, "zh": 1.0}
    told = forgotten(now, before, learnt="am", guard=0.05)
    assert len(told) == 1
    assert told[0].startswith("WARNING: en got worse: val_loss 1.0600, was 1.0000 at first (+6.0 %")
    assert forgotten(now, before, learnt="am", guard=0) == []


def test_the_mix_is_told_in_tokens(data: Path) -> None:
    """Shares, samples and passes; the language with most tokens is the one that is learnt."""
    pairs = load_pairs([str(data / "train_pairs.jsonl")])
    mix = mix_of(settings(mix="am=0.9, EN=0.1"), pairs)
    assert mix is not None
    assert "am 90 % of the tokens (36 samples, each once), en 10 %" in told(mix)
    assert new_language(pairs) == "am"
    assert mix_of(settings(), pairs) is None
    assert shares_of("am=.5,en=2") == {"am": 0.5, "en": 2.0}


def test_the_language_of_a_mix_is_the_one_that_is_learnt(
    trainer: TinyTrainer, data: Path, tmp_path: Path
) -> None:
    """However much of another language there is: what counts is what is trained."""
    words = flags(data, "--forgetting-guard", "1e-9", "--learning-rate", "5", "--grad-clip", 0)
    words += ["--mix", "en=0.9,am=0.1", "--max-steps", 3, "--val-interval", 3]
    ended = trainer.start(tmp_path / "run", *words)
    assert ended.code == 0, ended.err
    assert "WARNING: am got worse" in ended.out
    assert "WARNING: en" not in ended.out


def test_shares_that_whole_samples_can_not_give_are_told() -> None:
    """One sample is the least of a language."""
    lengths = np.array([10, 10])
    mix = Mix(["am", "en"], {"am": 0.999, "en": 0.001}, lengths)
    assert "am 99.9 % of the tokens, in whole samples 50 %, (1 sample, each once)" in told(mix)


def test_exchanged_texts_belong_to_other_sentences(data: Path) -> None:
    """Every measured sample keeps its codes and gets another text of its language."""
    pairs = load_pairs([str(data / "val_pairs.jsonl")])
    dataset = PairDataset(pairs)
    exchanged = ExchangedTexts(dataset, pairs, list(range(len(pairs))))
    assert len(exchanged.partners) == len(pairs)
    for index, partner in exchanged.partners.items():
        sample, own = exchanged[index], dataset[index]
        assert pairs.text_paths[partner] != pairs.text_paths[index]
        assert pairs.languages[partner] == pairs.languages[index]
        assert sample.text_ids.tolist() == dataset[partner].text_ids.tolist()
        assert sample.codes.tolist() == own.codes.tolist()
    same = replace(pairs, text_paths=(pairs.text_paths[0],) * len(pairs))
    assert ExchangedTexts(dataset, same, list(range(len(pairs)))).partners == {}


def test_the_gap_compares_the_same_samples() -> None:
    """Samples that weren't exchanged don't count."""
    true = scores(score("a", 1.0), score("b", 2.0), score("c", 9.0))
    exchanged = scores(score("a", 1.5), score("b", 3.0))
    assert abs(reading_gap(true, exchanged) - 0.75) < 1e-12
