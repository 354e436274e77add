from __future__ import annotations

import dataclasses
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from support import preloaded
from support.prepared import MANIFESTS, lines, listed, tree
from unbroken.errors import DataInvalid, SettingsInvalid
from unbroken_tts.corpus.synthesise import Corpus
from unbroken_tts.model.config import GptConfig
from unbroken_tts.prepare.codec import load_codec
from unbroken_tts.prepare.pairs import is_validation
from unbroken_tts.prepare.pipeline import prepare
from unbroken_tts.prepare.plan import PreparePlan, TokenizerPlan
from unbroken_tts.prepare.tokenizers import processor


def test_manifests_and_features_keep_the_contract(
    corpus: Corpus, plan: PreparePlan, tmp_path: Path
) -> None:
    """Every field, type, shape and range is as training reads it."""
    output = tmp_path / "out"
    summary = prepare(corpus.metadata, output, plan)
    singles = lines(output / "train.jsonl") + lines(output / "val.jsonl")
    assert corpus.utterances == len(singles) == summary.prepared_now
    vocabulary = processor((output / "tokenizer.model").read_bytes()).GetPieceSize()
    for row in singles:
        for kind in ("codes", "condition", "emo_vec", "text_ids"):
            assert f"{kind}/{row['id']}.npy" == row[f"{kind}_path"]
        ids, codes, condition, emo_vec = (
            np.load(output / row[f"{kind}_path"], allow_pickle=False)
            for kind in ("text_ids", "codes", "condition", "emo_vec")
        )
        assert ("int32", (row["text_len"],)) == (str(ids.dtype), ids.shape)
        assert ("int32", (row["code_len"],)) == (str(codes.dtype), codes.shape)
        assert ("float32", (4, 16)) == (str(condition.dtype), condition.shape)
        assert ("float32", (16,)) == (str(emo_vec.dtype), emo_vec.shape)
        assert 2 < ids.min() <= ids.max() < vocabulary
        assert 0 <= codes.min() <= codes.max() < 64
        assert (output / row["audio_path"]).resolve().is_file()
    assert all(is_validation(row["id"], 0.2) for row in lines(output / "val.jsonl"))
    for pair in lines(output / "train_pairs.jsonl") + lines(output / "val_pairs.jsonl"):
        assert pair["id"] == f"{pair['target_id']}__{pair['prompt_id']}"
        assert pair["target_codes_path"] == f"codes/{pair['target_id']}.npy"
        assert pair["prompt_condition_path"] == f"condition/{pair['prompt_id']}.npy"
    assert load_codec(output / "codec").size == 64


def test_summary_tells_what_was_made(corpus: Corpus, plan: PreparePlan, tmp_path: Path) -> None:
    """Hours, speakers, histograms, unknown rates and proofs are in the summary and in its text."""
    summary = prepare(corpus.metadata, tmp_path / "out", plan)
    assert ["am", "am_f4"] == [speaker.name for speaker in summary.speakers]
    seconds = sum(soundfile.info(str(path)).duration for path in corpus.directory.rglob("*.wav"))
    assert seconds / 3600 == pytest.approx(summary.hours, rel=1e-3)
    assert 0 == summary.unknown.unknown
    assert summary.unknown_before is not None
    assert 0 < summary.unknown_before.share
    assert 40 == summary.base_texts_compared
    assert all(corpus.utterances == sum(one.counts) for one in summary.histograms)
    for words in ("old ids  unchanged", "am_f4: 12", "Duration in seconds", "Unknown    0 of"):
        assert words in summary.text()


def test_rerun_redoes_nothing_and_gives_the_same_bytes(
    corpus: Corpus, plan: PreparePlan, tmp_path: Path
) -> None:
    """A second call touches no feature file; a fresh directory gets the same bytes."""
    one, two = tmp_path / "one", tmp_path / "two"
    prepare(corpus.metadata, one, plan)
    before = {path: path.stat().st_mtime_ns for path in one.rglob("*.npy")}
    again = prepare(corpus.metadata, one, plan)
    assert (0, corpus.utterances) == (again.prepared_now, again.kept)
    assert before == {path: path.stat().st_mtime_ns for path in one.rglob("*.npy")}
    prepare(corpus.metadata, two, plan)
    assert tree(one) == tree(two)


def test_killed_at_any_moment_it_ends_with_the_same_bytes(
    corpus: Corpus, plan: PreparePlan, config: GptConfig, tmp_path: Path
) -> None:
    """SIGKILL again and again, then once to the end: the tree is that of an undisturbed run."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"gpt": config.model_dump()}), encoding="utf-8")
    assert plan.tokenizer.path is not None
    child = "support.prepare_child"

    def words(output: Path) -> list[str]:
        return [str(each) for each in (corpus.metadata, output, plan.tokenizer.path, path)]

    whole, torn = tmp_path / "whole", tmp_path / "torn"
    preloaded.run(child, words(whole)).check_returncode()
    chance = random.Random(5)  # noqa: S311 - no secret
    killed = 0
    for goal in sorted(chance.sample(range(1, 80), 4)):
        with preloaded.running(child, words(torn)) as process:
            # Kill once so many feature files are there, wherever the process then is.
            while process.is_alive():
                process.join(0.002)
                if len(list(torn.glob("*/*.npy"))) >= goal:
                    process.kill()
                    killed += 1
                    break
    assert killed >= 2
    last = preloaded.run(child, words(torn))
    last.check_returncode()
    assert int(last.stdout) < corpus.utterances
    leftovers = [name for name in tree(torn) if name.endswith(".partial")]
    assert tree(whole) == {k: v for k, v in tree(torn).items() if k not in leftovers}
    assert [] == leftovers


def test_torn_record_is_done_again(corpus: Corpus, plan: PreparePlan, tmp_path: Path) -> None:
    """A half-written line of the record file, and a missing feature file, are mended."""
    output = tmp_path / "out"
    prepare(corpus.metadata, output, plan)
    before = tree(output)
    records = output / "records.jsonl"
    records.write_bytes(records.read_bytes()[:-20])
    (output / "codes" / "am_0003.npy").unlink()
    assert 2 == prepare(corpus.metadata, output, plan).prepared_now
    assert {k: v for k, v in before.items() if k != "records.jsonl"} == tree(
        output, "records.jsonl"
    )


def test_new_recordings_are_appended(corpus: Corpus, plan: PreparePlan, tmp_path: Path) -> None:
    """New lines are added; codec, tokenizer and old features stay; texts may be corrected."""
    rows = lines(corpus.metadata)
    source = tmp_path / "source"
    shutil.copytree(corpus.directory, source)
    output = tmp_path / "out"
    prepare(listed(source, rows[:16]), output, plan)
    before = tree(output)
    rows[0]["text"] = "ሰላም ብዙ ሰላም"
    summary = prepare(listed(source, rows), output, plan)
    assert (9, 15) == (summary.prepared_now, summary.kept)
    after = tree(output)
    changed = {name for name in before if before[name] != after[name]}
    assert {"text_ids/am_0000.npy", "records.jsonl", *MANIFESTS} >= changed
    assert 24 == summary.train_utterances + summary.val_utterances
    only_new = prepare(listed(source, rows[16:]), output, plan)
    assert (0, 24) == (only_new.prepared_now, only_new.kept)


def test_same_id_of_another_corpus_is_told(
    corpus: Corpus, plan: PreparePlan, tmp_path: Path
) -> None:
    """Joining two corpora whose ids collide does not silently replace the first."""
    output = tmp_path / "out"
    prepare(corpus.metadata, output, plan)
    other = tmp_path / "other"
    shutil.copytree(corpus.directory, other)
    rows = lines(other / "metadata.jsonl")
    rows[0]["audio"], rows[1]["audio"] = rows[1]["audio"], rows[0]["audio"]
    before = tree(output)
    with pytest.raises(DataInvalid, match="'am_0000' already belongs to the recording"):
        prepare(listed(other, rows[:2]), output, plan)
    assert before == tree(output)


def test_saved_codec_and_existing_tokenizer(
    corpus: Corpus, plan: PreparePlan, tmp_path: Path
) -> None:
    """A second data set can share the first one's codec and tokenizer, and gets equal codes."""
    one, two = tmp_path / "one", tmp_path / "two"
    prepare(corpus.metadata, one, plan)
    shared = dataclasses.replace(
        plan,
        codec=one / "codec",
        tokenizer=TokenizerPlan(kind="existing", path=one / "tokenizer.model"),
    )
    prepare(corpus.metadata, two, shared)
    for kind in ("codes", "text_ids", "condition", "emo_vec"):
        assert tree(one / kind) == tree(two / kind)
    small = plan.config.model_copy(update={"start_mel_token": 32, "stop_mel_token": 33})
    with pytest.raises(SettingsInvalid, match="has 64 codes, the code book of the model 32"):
        prepare(corpus.metadata, tmp_path / "three", dataclasses.replace(shared, config=small))


def test_other_rates_and_formats_give_the_same_layout(
    corpus: Corpus, plan: PreparePlan, tmp_path: Path
) -> None:
    """Stereo FLAC at 48 kHz with an LJSpeech list is prepared like the rest."""
    (tmp_path / "lj" / "wavs").mkdir(parents=True)
    rows = lines(corpus.metadata)[:12]
    for row in rows:
        wave, rate = soundfile.read(str(corpus.directory / row["audio"]))
        louder = np.repeat(wave, 2)  # 44.1 kHz
        stereo = np.stack([louder, louder], axis=1)
        soundfile.write(tmp_path / "lj" / "wavs" / f"{row['id']}.flac", stereo, 2 * rate)
    text = "".join(f"{row['id']}|{row['text']}|\n" for row in rows)
    (tmp_path / "lj" / "metadata.csv").write_text(text, encoding="utf-8")
    summary = prepare(tmp_path / "lj", tmp_path / "out", plan)
    assert (12, ["speaker"]) == (summary.prepared_now, [one.name for one in summary.speakers])
