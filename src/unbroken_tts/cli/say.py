"""The command `unbroken-tts say`: speaks a text with trained weights."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from unbroken import SettingsInvalid
from unbroken_tts.cli.target import require_free, writing
from unbroken_tts.cli.weights_flags import add_form_flags, form_choice, print_notes

if TYPE_CHECKING:
    from unbroken_tts.cli.main import Parser
    from unbroken_tts.model.sampling import Sampling

DESCRIPTION: Final = """\
Speak a text with a trained voice, into a WAV file.

  unbroken-tts say training_output --text "ሰላም ለዓለም።" --speaker NAME out.wav

A run records the paths of its tokenizer, codec and training data; for a gpt.pth name them:

  unbroken-tts say gpt.pth --config checkpoints/config.yaml --codec preprocessed_amharic/codec \\
    --tokenizer tokenizers/amharic_extended_bpe.model --text "..." --speaker recording.wav out.wav"""

EPILOG: Final = """\
SPEAKER is a speaker of the training data or the id of one of its utterances, a .npy file of
conditioning, or a recording. The same command gives the same file: --seed seeds the sampling."""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    parser = subparsers.add_parser(
        "say",
        help="speak a text with a trained voice",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("weights", metavar="CHECKPOINT", type=Path, help="a run, a checkpoint or a weights file")
    add("target", metavar="OUT.wav", type=Path, help="the file to write")
    add("--text", required=True, help="the text to speak")
    add("--speaker", required=True, help="the voice: a name, conditioning.npy or a recording")
    add(
        "--emotion",
        metavar="SPEAKER",
        help="speaker of the emotion, or an emotion vector .npy [--speaker]",
    )
    add("--language", default="am", help="language of the text, for normalisation [%(default)s]")
    add("--force", action="store_true", help="replace OUT.wav if it exists")
    _add_choice(parser)
    _add_belongings(parser)
    add_form_flags(parser)
    parser.set_defaults(run=run)


def _add_choice(parser: Parser) -> None:
    add = parser.add_argument_group("sampling").add_argument
    add("--greedy", action="store_true", help="always take the most likely code; ignores the rest")
    add("--seed", type=int, default=0, metavar="N", help="seed [%(default)s]")
    add(
        "--temperature",
        type=float,
        default=0.8,
        metavar="T",
        help="sampling temperature [%(default)s]",
    )
    add(
        "--top-k",
        type=int,
        default=30,
        metavar="K",
        help="sample from the K most likely [%(default)s]",
    )
    add(
        "--top-p",
        type=float,
        default=0.8,
        metavar="P",
        help="and of these, from probability P [%(default)s]",
    )


def _add_belongings(parser: Parser) -> None:
    add = parser.add_argument_group("files that belong to the weights").add_argument
    add("--tokenizer", type=Path, metavar="FILE", help="tokenizer of the weights [the run's]")
    add(
        "--codec",
        type=Path,
        metavar="DIR",
        help="codec of the codes [the run's, or the one beside its data]",
    )
    add(
        "--manifest",
        action="append",
        default=[],
        metavar="FILE",
        help="paired manifest in which to look up speakers; may be repeated [the run's]",
    )
    add(
        "--config",
        type=Path,
        default=Path("checkpoints/config.yaml"),
        metavar="FILE",
        help="model configuration of a weights file; a run has its own [%(default)s]",
    )


def run(arguments: argparse.Namespace) -> int:
    """Speak and write; return the exit code."""
    target: Path = arguments.target
    require_free(target, is_forced=arguments.force)

    from unbroken import progress_bars
    from unbroken_tts.prepare.audio import write_audio
    from unbroken_tts.speak.speaker import speaker_of
    from unbroken_tts.speak.speech import line_of, speak
    from unbroken_tts.speak.voice import open_voice

    sampling = _sampling(arguments)
    voice = open_voice(
        arguments.weights,
        config=arguments.config,
        tokenizer=arguments.tokenizer,
        codec=arguments.codec,
        manifests=arguments.manifest,
        choice=form_choice(arguments),
    )
    print_notes(voice.notes)
    config = voice.model.config
    line = line_of(
        arguments.text, arguments.language, voice.tokenizer, config.longest_text, voice.front
    )
    speaker = speaker_of(arguments.speaker, arguments.emotion, voice.manifests, config)
    if line.unknown:
        print(f"NOTE: the tokenizer has no piece for: {line.unknown}", file=sys.stderr)
    with progress_bars(stays=True) as stages:
        spoken = speak(voice, [line], [speaker], sampling, progress=stages("Speaking"))[0]
    if not spoken.codes:
        print("NOTE: the voice stopped at once; the file is empty.", file=sys.stderr)
    if spoken.was_cut:
        print(
            "NOTE: the voice didn't stop and was cut at the model's last position.", file=sys.stderr
        )
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_audio(target, spoken.wave, voice.codec.sample_rate)
    seconds = len(spoken.wave) / voice.codec.sample_rate
    how = "greedy" if sampling.greedy else f"seed {sampling.seed}"
    print(f"Wrote {target}: {seconds:.2f} s, {len(spoken.codes)} codes, {how}")
    return 0


def _sampling(arguments: argparse.Namespace) -> Sampling:
    from unbroken_tts.model.sampling import Sampling

    if not 0 <= arguments.seed < 1 << 63:
        raise SettingsInvalid(
            f"--seed is {arguments.seed}, but must be 0 or more and below 2**63.",
            "It seeds a 64-bit generator.",
            "Give --seed a whole number such as 0.",
        )
    return Sampling(
        greedy=arguments.greedy,
        seed=arguments.seed,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
    )
