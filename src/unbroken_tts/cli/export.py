"""The command `unbroken-tts export`: a run's weights for inference, as a folder or a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from unbroken import SettingsInvalid
from unbroken_tts.cli.target import require_free, writing
from unbroken_tts.cli.weights_flags import add_form_flags, form_choice, print_notes

if TYPE_CHECKING:
    from unbroken_tts.cli.main import Parser
    from unbroken_tts.cli.weights import Weights
    from unbroken_tts.export.config_file import ExportedConfig
    from unbroken_tts.export.folder import FolderContent, WrittenFolder

DESCRIPTION: Final = """\
Write the weights of a run for inference: frozen base rows and new rows joined, the untrained
encoders of the base unchanged, names and shapes as the inference program loads them.

A folder gets gpt.pth, your config.yaml with the number of pieces set, the tokenizer under the name
that config.yaml gives it, the text front end of the training, and provenance.json. It appears only
when the weights on the disk were read back and compared. With --into, the other files of your
IndexTTS2 folder are linked, so that the inference program runs from it as it is:

  unbroken-tts export training_output checkpoints_am --into checkpoints

A target that ends in .pth is the file of weights alone:

  unbroken-tts export training_output gpt.pth"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    parser = subparsers.add_parser(
        "export",
        help="write a run's weights for inference, as a folder or a gpt.pth",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "source",
        metavar="RUN",
        type=Path,
        help="a run, one of its checkpoints, or a latest.pth or model_step{N}.pth of the earlier "
        "trainer",
    )
    parser.add_argument(
        "target", metavar="DIR|FILE", type=Path, help="the folder, or the .pth file, to write"
    )
    parser.add_argument("--force", action="store_true", help="replace FILE, or an earlier export")
    _add_weights(parser)
    add_form_flags(parser)
    _add_folder(parser)
    parser.set_defaults(run=run)


def _add_weights(parser: Parser) -> None:
    group = parser.add_argument_group("which weights [those of the newest checkpoint]")
    group.add_argument(
        "--best", action="store_true", help="the checkpoint with the lowest validation loss"
    )
    group.add_argument(
        "--average",
        metavar="K",
        type=int,
        default=0,
        help="the mean of the weights of the K newest checkpoints",
    )
    group.add_argument(
        "--ema", action="store_true", help="use the moving average of a run's weights"
    )
    group.add_argument(
        "--dtype",
        choices=["float32", "float16", "bfloat16"],
        default="float32",
        help="precision of the file [%(default)s]",
    )


def _add_folder(parser: Parser) -> None:
    group = parser.add_argument_group("what a folder is made of")
    group.add_argument(
        "--into",
        metavar="INDEXTTS",
        type=Path,
        help="folder of IndexTTS2 (config.yaml, s2mel.pth, …) whose other files are linked into DIR",
    )
    group.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="model configuration [the run's; of a weights file checkpoints/config.yaml]",
    )
    group.add_argument(
        "--tokenizer", metavar="FILE", type=Path, help="tokenizer of the weights [the run's]"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the folder or the file; return the exit code."""
    from unbroken_tts.export.folder import is_folder_name

    if arguments.average < 0 or arguments.average == 1:
        raise SettingsInvalid(
            f"--average {arguments.average} was given.",
            "It is the number of checkpoints whose weights are averaged.",
            "Give --average a number of 2 or more, or omit it.",
        )
    if is_folder_name(arguments.target):
        return _write_folder(arguments)
    return _write_file(arguments)


def _open(arguments: argparse.Namespace) -> tuple[Weights, dict[str, Any]]:
    """Return the weights and their tensors in the precision of the file."""
    from unbroken_tts.cli.weights import open_weights
    from unbroken_tts.export.ingredients import DEFAULT_CONFIG
    from unbroken_tts.export.tensors import converted, merge

    weights = open_weights(
        arguments.source,
        arguments.config or DEFAULT_CONFIG,
        averaged=arguments.ema,
        best=arguments.best,
        mean_of=arguments.average,
        choice=form_choice(arguments),
    )
    print_notes(weights.notes)
    tensors = converted(merge(weights.model, weights.untrained_encoders), arguments.dtype)
    return weights, tensors


def _write_file(arguments: argparse.Namespace) -> int:
    target: Path = arguments.target
    if arguments.into or arguments.tokenizer:
        flag = "--into" if arguments.into else "--tokenizer"
        raise SettingsInvalid(
            f"{flag} was given, but the target {target} is a file of weights.",
            "Only a folder has other files beside the weights.",
            f"Name a folder, or omit {flag}.",
        )
    require_free(target, is_forced=arguments.force)
    weights, tensors = _open(arguments)

    from unbroken_tts.export.tensors import write_gpt_pth

    with writing(target):
        write_gpt_pth(target, tensors)
    size = target.stat().st_size / 1e6
    print(f"Wrote {target}: {len(tensors)} tensors, {size:.1f} MB, vocabulary ", end="")
    print(f"{weights.model.vocabulary} (number_text_tokens in the config of inference).")
    return 0


def _write_folder(arguments: argparse.Namespace) -> int:
    from unbroken_tts.export.folder import require_free_folder, require_other, write_folder
    from unbroken_tts.export.ingredients import folder_content

    target: Path = arguments.target
    require_free_folder(target, is_forced=arguments.force)
    if arguments.into is not None:
        require_other(arguments.into, target)
    weights, tensors = _open(arguments)
    content = folder_content(
        tensors,
        weights.model,
        facts=weights.facts,
        root=weights.root,
        origin={**(weights.origin or _of_file(arguments.source)), "dtype": arguments.dtype},
        config=arguments.config,
        tokenizer=arguments.tokenizer,
        into=arguments.into,
    )
    with writing(target):
        written = write_folder(target, content, arguments.into)
    _tell(target, written, is_linked=arguments.into is not None)
    _tell_config(content.config, arguments.into)
    _tell_front(target, content)
    return 0


def _of_file(source: Path) -> dict[str, str]:
    from unbroken_tts.export.folder import digest_of

    return {"file": source.name, "sha256": digest_of(source)}


def _tell(target: Path, written: WrittenFolder, *, is_linked: bool) -> None:
    print(f"Wrote {target}, read back and compared:")
    for name in written.written:
        print(f"  {name}  {_size((target / name).stat().st_size)}")
    if written.linked:
        print(f"Linked: {', '.join(written.linked)}")
    if written.copied:
        print(f"Copied, as links are not possible here: {', '.join(written.copied)}")
    if written.missing and is_linked:
        print(f"WARNING: config.yaml names {', '.join(written.missing)}, which --into hasn't.")
    elif written.missing:
        print(
            f"The inference program also needs {', '.join(written.missing)}: add --into FOLDER to "
            "link them."
        )


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def _tell_config(config: ExportedConfig, into: Path | None) -> None:
    for key in config.left_out:
        print(f"NOTE: gpt.{key} was left out of config.yaml: the inference program refuses it.")
    if config.lacking:
        remedy = (
            f"is {into} the folder of IndexTTS2?"
            if into
            else "name that of your IndexTTS2 folder with --config, or the folder with --into."
        )
        print(
            f"WARNING: config.yaml lacks {', '.join(config.lacking)}, which the inference program "
            f"reads: {remedy}"
        )


def _tell_front(target: Path, content: FolderContent) -> None:
    """Say how the program is started so that it reads texts as the training did."""
    from unbroken_tts.export.front_file import NAME

    rules = content.provenance["text_rules"]
    if NAME in content.more:
        print("Start the program with the text front end of the training; nothing in it changes:")
        print(f"  python {target / NAME} webui.py --model_dir {target}")
    elif rules is None:
        print(
            "NOTE: nothing says which rules made the text ids of the training: whether the program "
            f"reads texts alike can be measured with `unbroken-tts front {target} --front …`."
        )
    else:
        print(f"Texts are read by the program's own rules ({rules['front']}): start it as it is.")
