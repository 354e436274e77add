"""Makes the codec and the tokenizer of a data set, or loads those made earlier."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from unbroken import DataInvalid, SettingsInvalid
from unbroken_tts.data.open_tokenizer import tokenizer_of as opened
from unbroken_tts.data.tokenizer import Tokenizer
from unbroken_tts.prepare.audio import read_audio
from unbroken_tts.prepare.codec import Codec, load_codec
from unbroken_tts.prepare.codec.melvq import SIZE, MelVq, stacked_frames
from unbroken_tts.prepare.extension import Extension, extend
from unbroken_tts.prepare.fronts import WITH_LANGUAGE, require_fitting
from unbroken_tts.prepare.items import UsableUtterance, nothing_left
from unbroken_tts.prepare.mel import SAMPLE_RATE
from unbroken_tts.prepare.normalisation import normalise
from unbroken_tts.prepare.plan import Made, PreparePlan
from unbroken_tts.prepare.sources import RecordingFault
from unbroken_tts.prepare.tokenizers import train_tokenizer
from unbroken_tts.prepare.written import write_whole
from unbroken_tts.progress import Progress, ignore_progress

Stages = Callable[[str], Progress]
"""Called with the name of a stage; returns its progress callback."""

_FIT_SECONDS = 3_600.0


def silent_stages(_stage: str) -> Progress:
    """Show nothing."""
    return ignore_progress


def codec_of(
    plan: PreparePlan,
    output: Path,
    items: Sequence[UsableUtterance],
    stages: Stages,
    *,
    made: Made | None,
    given: Codec | None = None,
) -> Codec:
    """Return the codec of a data set.

    Args:
        plan: Names a saved codec; otherwise `melvq` is fitted and saved in `output/codec`.
        output: Directory of the data set.
        items: Recordings to fit on; up to an hour of them is used.
        stages: Draws progress.
        made: The codec and tokenizer of an earlier call.
        given: The codec, if it is neither saved nor fitted.

    Raises:
        DataInvalid: The saved codec or all recordings can't be read, or the codec has changed.
        SettingsInvalid: It has another number of codes than the model.
    """
    codec: Codec
    if given is not None:
        codec = given
        codec.save(output / "codec")
    elif plan.codec is not None:
        codec = load_codec(plan.codec)
    elif made is not None:
        codec = load_codec(output / "codec")
    else:
        size = min(SIZE, plan.config.start_mel_token)
        vectors = _frames_to_fit(items, stages("Reading speech for the codec"))
        codec = MelVq.fit(vectors, size=size, progress=stages("Fitting the codec"))
        codec.save(output / "codec")
    if made is not None and codec.fingerprint != made.codec:
        raise _changed(plan.codec or output / "codec", made.codec, codec.fingerprint)
    require_code_book(codec, plan)
    return codec


def require_code_book(codec: Codec, plan: PreparePlan) -> None:
    """Compare the number of codes with the model's code book.

    Raises:
        SettingsInvalid: They differ.
    """
    wanted = plan.code_book or plan.config.start_mel_token
    if {codec.size, wanted} == {plan.config.start_mel_token}:
        return
    raise SettingsInvalid(
        f"The codec {codec.name} has {codec.size} codes, the code book of the model {wanted}; its "
        f"start_mel_token is {plan.config.start_mel_token}.",
        "Codes are the ids below start_mel_token. With another code book every code would stand for "
        "another sound, or have no row in the model.",
        "Choose a configuration and a codec that belong together.",
    )


def _frames_to_fit(items: Sequence[UsableUtterance], progress: Progress) -> list[torch.Tensor]:
    """Return the frames of up to an hour of recordings, chosen by a digest of their ids."""

    def rank(item: UsableUtterance) -> str:
        return hashlib.sha256(item.utterance.id.encode()).hexdigest()

    chosen, seconds = [], 0.0
    for item in sorted(items, key=rank):
        if seconds < _FIT_SECONDS:
            chosen.append(item)
            seconds += item.seconds
    frames = []
    for done, item in enumerate(chosen, start=1):
        try:
            wave = read_audio(item.utterance.audio, SAMPLE_RATE)
        except DataInvalid:
            continue  # it is reported when its features are made
        frames.append(stacked_frames(wave, SAMPLE_RATE))
        progress(done, len(chosen))
    if not frames:
        raise nothing_left([RecordingFault(where=str(items[0].utterance.audio), what="unreadable")])
    return frames


def require_front(plan: PreparePlan) -> None:
    """Check that the texts of the front end can be encoded with the tokenizer.

    Raises:
        DataInvalid: The existing or base tokenizer can't be read.
        SettingsInvalid: They don't belong together.
    """
    chosen = plan.tokenizer
    if chosen.kind == "existing":
        assert chosen.path is not None
        require_fitting(plan.front, opened(chosen.read(), chosen.path))
    elif plan.front == WITH_LANGUAGE:
        raise SettingsInvalid(
            f"The front end is {plan.front}, and the tokenizer is to be made.",
            "Texts of that front end are encoded with the vocabulary of IndexTTS-2.5 as it is.",
            "Name its `.tiktoken` file with --tokenizer.",
        )


def tokenizer_of(
    plan: PreparePlan,
    output: Path,
    items: Sequence[UsableUtterance],
    *,
    made: Made | None,
    stages: Stages = silent_stages,
) -> tuple[Tokenizer, Extension | None]:
    """Return the tokenizer of a data set, saved as `output/tokenizer.model`.

    Args:
        plan: Names one, or how to train or extend one.
        output: Directory of the data set.
        items: The utterances whose texts to train on.
        made: The codec and tokenizer of an earlier call.
        stages: Draws progress.

    Returns:
        The tokenizer, and the extension if it was made in this call.

    Raises:
        DataInvalid: The existing or base model can't be read, or has changed.
        SettingsInvalid: The size is impossible.
    """
    path = output / "tokenizer.model"
    if made is not None:
        return _sealed_tokenizer(path, made), None
    texts = [item.text for item in sorted(items, key=lambda item: item.utterance.id)]
    chosen = plan.tokenizer
    extension = None
    if chosen.kind == "train":
        model = train_tokenizer(texts, chosen.size)
    elif chosen.kind == "extend":
        old = [normalise(text, chosen.base_language) for text in chosen.base_texts]
        extension = extend(
            chosen.read(),
            texts,
            chosen.size,
            script=chosen.script,
            base_texts=old,
            progress=stages("Fitting new pieces"),
        )
        model = extension.model
    else:
        model = chosen.read()
    tokenizer = opened(model, (chosen.path if chosen.kind == "existing" else None) or path)
    write_whole(path, model)
    return tokenizer, extension


def _sealed_tokenizer(path: Path, made: Made) -> Tokenizer:
    model = path.read_bytes() if path.is_file() else b""
    digest = hashlib.sha256(model).hexdigest()
    if digest != made.tokenizer:
        raise _changed(path, made.tokenizer, digest if model else "missing")
    return opened(model, path)


def _changed(path: Path, was: str, now: str) -> DataInvalid:
    return DataInvalid(
        f"{path} has the digest {now[:16]}; the features beside it were made with {was[:16]}.",
        "All features of a data set must be made with one tokenizer and one codec.",
        "Restore the former file, or prepare into another directory with --output.",
    )
