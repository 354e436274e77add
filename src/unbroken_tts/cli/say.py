"""The command `unbroken-tts say`: speaks a text with trained weights."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from unbroken import SettingsInvalid
from unbroken_tts.cli.target import require_free, writing

if TYPE_CHECKING:
    from unbroken_tts.cli.main import Parser
    from unbroken_tts.model.sampling import Sampling

DESCRIPTION: Final = """\
Speak a text with a trained voice, into a WAV file.

  unbroken-tts say training_output --text "ሰላም ለዓለም።" --speaker NAME out.wav

A run remembers its tokenizer, its codec and its training data; for a gpt.pth name them:

  unbroken-tts say gpt.pth --config checkpoints/config.yaml --codec preprocessed_amharic/codec \\
    --tokenizer tokenizers/amharic_extended_bpe.model --text "..." --speaker recording.wav out.wav"""

EPILOG: Final = """\
SPEAKER is a speaker of the training data or the id of one of its utterances, a .npy file of
conditioning, or a recording. The same command gives the same file: codes are drawn from --seed."""


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
    add("--text", required=True, help="what to say")
    add("--speaker", required=True, help="whose voice: a name, conditioning.npy or a recording")
    add("--emotion", metavar="SPEAKER", help="whose emotion, or an emotion vector .npy [--speaker]")
    add("--language", default="am", help="whose rules the text is normalised by [%(default)s]")
    add("--force", action="store_true", help="replace OUT.wav if it is there")
    _add_choice(parser)
    _add_belongings(parser)
    parser.set_defaults(run=run)


def _add_choice(parser: Parser) -> None:
    add = parser.add_argument_group("how each code is chosen").add_argument
    add("--greedy", action="store_true", help="always the most likely; the rest does nothing then")
    add("--seed", type=int, default=0, metavar="N", help="of the draws [%(default)s]")
    add("--temperature", type=float, default=0.8, metavar="T", help="lower: surer [%(default)s]")
    add("--top-k", type=int, default=30, metavar="K", help="among the K likeliest [%(default)s]")
    add("--top-p", type=float, default=0.8, metavar="P", help="that make up P [%(default)s]")


def _add_belongings(parser: Parser) -> None:
    add = parser.add_argument_group("what belongs to the weights").add_argument
    add("--tokenizer", type=Path, metavar="FILE", help="SentencePiece model [the run's]")
    add(
        "--codec",
        type=Path,
        metavar="DIR",
        help="codec the codes are of [the run's, or the one beside its data]",
    )
    add(
        "--manifest",
        action="append",
        default=[],
        metavar="FILE",
        help="paired manifest that speakers are looked up in; may be repeated [the run's]",
    )
    add(
        "--config",
        type=Path,
        default=Path("checkpoints/config.yaml"),
        metavar="FILE",
        help="model configuration of a weights file; a run brings its own [%(default)s]",
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
    )
    config = voice.model.config
    line = line_of(arguments.text, arguments.language, voice.tokenizer, config.longest_text)
    speaker = speaker_of(arguments.speaker, arguments.emotion, voice.manifests, config)
    if line.unknown:
        print(f"NOTE: no piece of the tokenizer says: {line.unknown}", file=sys.stderr)
    with progress_bars(stays=True) as stages:
        spoken = speak(voice, [line], [speaker], sampling, progress=stages("Speaking"))[0]
    if not spoken.codes:
        print("NOTE: the voice stopped at once; the file is empty.", file=sys.stderr)
    if spoken.was_cut:
        print("NOTE: the voice came to no end and was cut at its last position.", file=sys.stderr)
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
