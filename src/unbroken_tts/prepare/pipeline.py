"""Prepares a data set: recordings and texts in, manifests and feature files out.

1. Read the list; read the header of every recording; normalise every text.
2. Claim the output directory, or check that it has the same options.
3. Fit the codec, train or extend the tokenizer; from then on both stay as they are.
4. Check that the disk has room for the remaining features.
5. For each unfinished recording: write the features, then a line in `records.jsonl`.
6. Report all unusable recordings at once; stop, or omit them.
7. Write the manifests from the records.

After a kill at any moment, another call continues where it stopped and ends with the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from unbroken import DataInvalid, SettingsInvalid
from unbroken_tts.prepare.codec import Codec
from unbroken_tts.prepare.codec.melvq import SIZE
from unbroken_tts.prepare.conditioning import Conditioner, MelStat
from unbroken_tts.prepare.extension import Extension
from unbroken_tts.prepare.features import Extractor
from unbroken_tts.prepare.fitting import (
    Stages,
    codec_of,
    require_code_book,
    require_front,
    silent_stages,
    tokenizer_of,
)
from unbroken_tts.prepare.indextts import Encoders
from unbroken_tts.prepare.items import UsableUtterance, looked_at, nothing_left, stop_at
from unbroken_tts.prepare.manifests import write_manifests
from unbroken_tts.prepare.outcome import PreparedOutcome, summary_of
from unbroken_tts.prepare.plan import Made, PreparePlan, bind_output, binding, seal_output
from unbroken_tts.prepare.records import Records, UtteranceRecord
from unbroken_tts.prepare.remainder import check_room, unfinished
from unbroken_tts.prepare.sources import RecordingFault, read_source
from unbroken_tts.prepare.summary import Summary
from unbroken_tts.prepare.written import write_json_lines
from unbroken_tts.progress import Progress


def prepare(
    source: Path,
    output: Path,
    plan: PreparePlan,
    *,
    encoders: Callable[[], Encoders] | None = None,
    stages: Stages = silent_stages,
) -> Summary:
    """Prepare a data set, or finish or extend an existing one.

    Args:
        source: A `metadata.csv`, a `.jsonl`, or a directory that contains one.
        output: A new directory, or one of an earlier call with the same options; recordings that
            the list no longer names are kept.
        plan: All options.
        encoders: Opens the codec and the conditioner, once the list is read; None uses the plan's
            codec and `MelStat`.
        stages: Draws progress.

    Returns:
            A summary of the data set.

    Raises:
        DataInvalid: Inputs are missing or unusable; the message names all of them.
        SettingsInvalid: Options contradict one another or the output, or the disk is full.
    """
    require_front(plan)
    if encoders is None:
        _require_embedded(plan, source, output)
    listed = read_source(source, language=plan.language, audio_dir=plan.audio_dir)
    items, faults = looked_at(listed.utterances, stages("Checking recordings"), plan.front)
    faults = listed.faults + faults
    if plan.on_bad == "stop":
        stop_at(faults)
    if not items:
        raise nothing_left(faults)
    chosen = _opened(plan, encoders, stages)
    extractor, extension = _bound(chosen, plan, source, output, items, stages)
    every, faults, prepared_now = _features(extractor, items, faults, plan, stages)
    counts = write_manifests(output, every, plan.val_ratio, plan.pairs_per_target)
    dropped = [{"where": fault.where, "what": fault.what} for fault in faults]
    write_json_lines(output / "dropped.jsonl", dropped)
    outcome = PreparedOutcome(
        every=every,
        faults=faults,
        counts=counts,
        prepared_now=prepared_now,
        extension=extension,
    )
    return summary_of(extractor, plan, outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """What makes codes and conditioning."""

    codec: Codec | None
    """None for the plan's."""
    conditioner: Conditioner
    further: Mapping[str, str] = field(default_factory=dict)

    def identity(self) -> dict[str, str]:
        """Return facts about the conditioner; the embedded one is not named, as it never was."""
        name = self.conditioner.name
        named = {} if name == MelStat.NAME else {"conditioner_name": name}
        return {"conditioner": self.conditioner.fingerprint, **named, **self.further}


def _opened(plan: PreparePlan, encoders: Callable[[], Encoders] | None, stages: Stages) -> _Chosen:
    if encoders is None:
        conditioner = MelStat(*plan.config.condition_shape, emotion_width=plan.config.model_dim)
        return _Chosen(codec=None, conditioner=conditioner)
    loading = stages("Loading the encoders")
    loading(0, 1)
    opened = encoders()
    loading(1, 1)
    require_code_book(opened.codec, plan)
    return _Chosen(codec=opened.codec, conditioner=opened.conditioner, further=opened.identity)


def _bound(
    chosen: _Chosen,
    plan: PreparePlan,
    source: Path,
    output: Path,
    items: Sequence[UsableUtterance],
    stages: Stages,
) -> tuple[Extractor, Extension | None]:
    """Claim the output, make or load codec and tokenizer, and record that they stay."""
    plan = replace(plan, extra={**plan.extra, **chosen.identity()})
    wanted = binding(plan, chosen.codec)
    made = bind_output(output, wanted, source)
    codec = codec_of(plan, output, items, stages, made=made, given=chosen.codec)
    tokenizer, extension = tokenizer_of(plan, output, items, made=made, stages=stages)
    tokenizer_digest = hashlib.sha256((output / "tokenizer.model").read_bytes()).hexdigest()
    seal_output(output, wanted, Made(codec=codec.fingerprint, tokenizer=tokenizer_digest))
    extractor = Extractor(
        output=output,
        codec=codec,
        conditioner=chosen.conditioner,
        tokenizer=tokenizer,
        config=plan.config,
    )
    return extractor, extension


def _require_embedded(plan: PreparePlan, source: Path, output: Path) -> None:
    """Refuse to make features of the embedded kind for the real model.

    Raises:
        SettingsInvalid: The model's configuration names a semantic codec, or has more codes than the
            embedded one.
    """
    fits = plan.codec is not None or plan.config.start_mel_token <= SIZE
    if plan.code_book is None and fits:
        return
    found = (
        f"The model has {plan.config.start_mel_token} codes"
        if plan.code_book is None
        else f"The configuration names a semantic codec of {plan.code_book} codes"
    )
    raise SettingsInvalid(
        f"{found}, and the features would be made with the embedded codec and conditioner.",
        "A model that was trained on the semantic codec can't use them: to it they are noise.",
        "Name the folder of IndexTTS2, whose encoders make the right ones: unbroken-tts prepare "
        f"{source} --output {output} --indextts DIR ...",
    )


def _features(
    extractor: Extractor,
    items: Sequence[UsableUtterance],
    faults: list[RecordingFault],
    plan: PreparePlan,
    stages: Stages,
) -> tuple[list[UtteranceRecord], list[RecordingFault], int]:
    """Make missing features; return all usable records, all faults, and the number made."""
    output = extractor.output
    with Records(output / "records.jsonl").opened() as records:
        todo, taken = unfinished(items, records, output)
        check_room(output, todo, plan, extractor.codec)
        made, bad = _work(extractor, records, todo, stages("Preparing recordings"))
        faults = faults + taken + bad
        if plan.on_bad == "stop":
            stop_at(faults)
        left_out = {fault.id for fault in faults}
        every = [records.by_id[name] for name in sorted(records.by_id.keys() - left_out)]
    if not every:
        raise nothing_left(faults)
    return every, faults, made


def _work(
    extractor: Extractor, records: Records, todo: Sequence[UsableUtterance], progress: Progress
) -> tuple[int, list[RecordingFault]]:
    extractor.make_directories()
    prepared, faults = 0, []
    for done, item in enumerate(todo, start=1):
        utterance = item.utterance
        try:
            records.add(extractor.extract(utterance, item.text))
            prepared += 1
        except DataInvalid as error:
            faults.append(RecordingFault(where=utterance.where, id=utterance.id, what=error.what))
        progress(done, len(todo))
    return prepared, faults
