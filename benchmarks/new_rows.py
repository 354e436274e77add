"""What should the rows of new pieces start as? The mean of the base, or of the pieces that spelt them.

A small GPT is trained on the English sentences of this package with a base tokenizer; then it learns
Amharic with frozen base rows, once from each start, over several seeds. The "sound" is made up: each
character has its own code, so the codes follow from the letters as they do in speech. Two cases:

    new script     the base, extended for Amharic: it knows the letters of no new piece
    own tokenizer  one trained on both languages: rows by spelling where the base knows the piece

    python benchmarks/new_rows.py                                  # a miniature base; two minutes
    python benchmarks/new_rows.py --base checkpoints/bpe.model     # that of IndexTTS2
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sentencepiece
import torch

from unbroken_tts.corpus.sentences import load_sentences
from unbroken_tts.data.batch import Batch
from unbroken_tts.data.open_tokenizer import open_tokenizer
from unbroken_tts.data.samples import Sample, collate
from unbroken_tts.data.tokenizer import Tokenizer
from unbroken_tts.data.tokenizer_kinship import Kinship
from unbroken_tts.evaluate import evaluate
from unbroken_tts.model.base import BaseWeights, frozen_rows_of
from unbroken_tts.model.config import ConditionModule, GptConfig
from unbroken_tts.model.gpt import VoiceGpt
from unbroken_tts.model.new_rows import RowPlan, respelt
from unbroken_tts.prepare.extension import extend
from unbroken_tts.prepare.letters import is_of_script
from unbroken_tts.prepare.normalisation import normalise
from unbroken_tts.prepare.tokenizers import train_tokenizer
from unbroken_tts.train.base_rows import row_sources

CODES = 64
BATCH = 16
HELD_OUT = 80
WAYS = ("mean", "pieces")
POINTS = (0, 20, 60, 150)
"""Updates after which held-out text is scored."""


@dataclass(frozen=True, slots=True)
class Case:
    """One tokenizer to go on with."""

    name: str
    kin: Kinship

    @property
    def frozen(self) -> int:
        """Return the number of frozen rows, as training decides it."""
        base, new = self.kin.base.vocabulary, self.kin.new.vocabulary
        is_known = self.kin.is_extension
        return frozen_rows_of(base, new, train_base_rows=False) if is_known else 0


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--base", type=Path, metavar="FILE", help="base tokenizer [a miniature]")
    parser.add_argument("--new-pieces", type=int, default=1_000, metavar="N")
    parser.add_argument("--base-steps", type=int, default=300, metavar="N")
    parser.add_argument("--seeds", type=int, default=2, metavar="N")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    english = [normalise(each, "en") for each in load_sentences("en")]
    amharic = [normalise(each, "am") for each in load_sentences("am")]
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        base_model = arguments.base.read_bytes() if arguments.base else miniature(english)
        base = saved(root / "base.model", base_model)
        grown = extend(base_model, amharic, base.vocabulary + arguments.new_pieces)
        own = train_tokenizer([*english, *amharic], 2 * arguments.new_pieces, kind="unigram")
        cases = [
            Case("new script", Kinship(base, saved(root / "grown.model", grown.model))),
            Case("own tokenizer", Kinship(base, saved(root / "own.model", own))),
        ]
        weights = trained_base(base, english, arguments.base_steps)
        print(
            f"base: {base.vocabulary} pieces, {arguments.base_steps} updates on {len(english)} texts"
        )
        print("case            rows start as  loss of held-out text / codes after N updates")
        print(" " * 31 + "".join(f"{point:>16}" for point in POINTS))
        for case in cases:
            new = [
                piece
                for piece, source in zip(case.kin.new.pieces, case.kin.sources, strict=True)
                if source is None
            ]
            spelt = sum(bool(case.kin.spelling(each)) for each in new)
            for way in WAYS:
                curves = [
                    learn(weights, case, way, amharic, seed) for seed in range(arguments.seeds)
                ]
                cells = [
                    f"{mean([curve[at][0] for curve in curves]):.3f} / "
                    f"{mean([curve[at][1] for curve in curves]):.3f}"
                    for at in range(len(POINTS))
                ]
                print(
                    f"{case.name:15} {way:14} " + "".join(f"{cell:>16}" for cell in cells),
                    flush=True,
                )
            print(f"  ({spelt} of {len(new)} new pieces had pieces that spelt them)")
    print(f"{arguments.seeds} seeds, {time.monotonic() - began:.0f} s")


def miniature(english: Sequence[str]) -> bytes:
    """Return a unigram base as that of IndexTTS2: capitals, NFKC."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(english),
        model_writer=written,
        model_type="unigram",
        vocab_size=600,
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_name="nmt_nfkc",
        bos_id=0,
        eos_id=1,
        unk_id=2,
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return written.getvalue()


def saved(path: Path, model: bytes) -> Tokenizer:
    """Return a tokenizer read from a file."""
    path.write_bytes(model)
    return open_tokenizer(path)


def config() -> GptConfig:
    """Return a small model."""
    module = ConditionModule(
        output_size=4, linear_units=16, attention_heads=1, num_blocks=1, perceiver_mult=2
    )
    return GptConfig(
        model_dim=64,
        layers=2,
        heads=4,
        max_mel_tokens=240,
        max_text_tokens=160,
        number_mel_codes=CODES + 2,
        start_mel_token=CODES,
        stop_mel_token=CODES + 1,
        condition_num_latent=2,
        dropout=0.0,
        condition_module=module,
        emo_condition_module=module,
    )


def samples(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Sample]:
    """Return texts with their codes: one for each character, whatever the tokenizer."""
    return [
        Sample(
            id=str(number),
            text_ids=torch.tensor(tokenizer.encode(text)),
            codes=torch.tensor([code_of(each) for each in text]),
            condition=torch.zeros(2, 64),
            emo_vec=torch.zeros(64),
        )
        for number, text in enumerate(texts)
    ]


def code_of(character: str) -> int:
    """Return the code of a character; an Ethiopic letter shares it with one of its consonant."""
    point = ord(character)
    return (point // 8 if is_of_script(character, "Ethiopic") else point) * 37 % CODES


def batches(data: Sequence[Sample], seed: int) -> Iterator[Batch]:
    """Yield batches without end."""
    draw = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(data), generator=draw).tolist()
        for at in range(0, len(order) - BATCH + 1, BATCH):
            yield joined([data[index] for index in order[at : at + BATCH]])


def joined(some: Sequence[Sample]) -> Batch:
    """Return one batch."""
    return collate(some, stop_text_token=1, stop_mel_token=CODES + 1)


def train(model: VoiceGpt, data: Sequence[Sample], updates: int, seed: int) -> Iterator[int]:
    """Train; yield the number of updates before each, and at the end."""
    trained = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-3, weight_decay=0.0)
    source = batches(data, seed)
    for update in range(updates):
        yield update
        sums = model(next(source))
        loss = (
            0.2 * sums.text_loss_sum / sums.text_tokens + 0.8 * sums.mel_loss_sum / sums.mel_tokens
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    yield updates


def trained_base(tokenizer: Tokenizer, texts: Sequence[str], updates: int) -> BaseWeights:
    """Return a base trained on texts of the old language."""
    model = VoiceGpt(config(), tokenizer.vocabulary)
    model.initialise(1)
    for _ in train(model, samples(tokenizer, texts), updates, seed=1):
        pass
    return BaseWeights(
        origin="base",
        trained={name: each.clone() for name, each in model.table().items()},
        untrained_encoders={},
        vocabulary=tokenizer.vocabulary,
    )


def learn(
    base: BaseWeights, case: Case, way: str, texts: Sequence[str], seed: int
) -> list[tuple[float, float]]:
    """Learn the new language from one start; return the losses of held-out text and codes."""
    plan = RowPlan(sources=row_sources(case.kin, way), frozen=case.frozen)
    model = VoiceGpt(config(), case.kin.new.vocabulary, plan.frozen)
    model.load_table(respelt(base, plan).trained)
    data = samples(case.kin.new, texts)
    held = [joined(data[at : at + BATCH]) for at in range(len(data) - HELD_OUT, len(data), BATCH)]
    found = []
    for update in train(model, data[:-HELD_OUT], POINTS[-1], seed):
        if update in POINTS:
            scores = evaluate(model, held)
            found.append((scores.text_loss, scores.mel_loss))
    return found


def mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
