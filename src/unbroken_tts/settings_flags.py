"""Parses flags and a YAML file into `TrainSettings`, or raises one error that names the flags.

Flags are derived from the declarations in `settings`. A flag overrides the settings file, which
overrides the default. Values stay text until pydantic validates them, so the same rules apply to
flags and files, and a message can name the flag.
"""

from __future__ import annotations

import argparse
import types
from collections.abc import Collection, Hashable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

from unbroken import SettingsInvalid, nearest
from unbroken_tts.model.trained_part import require_choice
from unbroken_tts.settings import GROUPS, TrainSettings
from unbroken_tts.settings.declaration import mark

_FIELDS: Final = TrainSettings.model_fields
_OF_ADAPTERS: Final = ("lora_alpha", "lora_dropout", "lora_targets")


def add_flags(parser: argparse.ArgumentParser, *, without: Collection[str] = ()) -> None:
    """Add a flag for every setting to `parser`; an omitted flag sets no attribute.

    Args:
        parser: Of the command.
        without: Names of settings that the command decides itself.
    """
    for group in GROUPS:
        heading = parser.add_argument_group(group.model_config.get("title"))
        for name, field in group.model_fields.items():
            if name not in without:
                _add_flag(heading, name, field)
    parser.add_argument_group("Settings file").add_argument(
        "--settings",
        metavar="FILE",
        help="YAML file with any of these settings, named like the flags without the dashes "
        "(`learning-rate: 5e-6`; a repeatable one as a list). A flag overrides the file.",
    )


def _add_flag(group: argparse._ArgumentGroup, name: str, field: FieldInfo) -> None:
    kind: dict[str, Any] = {"metavar": mark(field).metavar or None}
    if _is_switch(field):
        kind = {"action": argparse.BooleanOptionalAction}
    elif _is_repeatable(field):
        kind |= {"action": "append"}
    elif choices := _choices(field):
        kind = {"metavar": "|".join(choices)}
    group.add_argument(flag(name), dest=name, default=argparse.SUPPRESS, help=_help(field), **kind)


def flag(name: str) -> str:
    """Return the flag of a setting: `batch_size` is `--batch-size`."""
    return "--" + name.replace("_", "-")


def read_settings(given: Mapping[str, Any]) -> TrainSettings:
    """Build the settings from the values that `add_flags` parsed.

    Args:
        given: Values by name of the setting, as text, and optionally `settings`, the path of a YAML
            file. Other names are ignored.

    Raises:
        SettingsInvalid: A value is invalid, a required one is missing, two contradict each other,
            or the file can't be read.
    """
    values: dict[str, Any] = {}
    if given.get("settings"):
        values = _read_file(Path(given["settings"]))
    values |= {name: value for name, value in given.items() if name in TrainSettings.model_fields}
    missing = [
        flag(name)
        for name, field in TrainSettings.model_fields.items()
        if field.is_required() and not values.get(name)
    ]
    if missing:
        raise SettingsInvalid(
            f"{_listed(missing)} {'is' if len(missing) == 1 else 'are'} missing.",
            "Training needs manifests and their tokenizer.",
            "Give each as a flag or in the file of --settings; `--help` shows a complete command.",
        )
    try:
        settings = TrainSettings.model_validate(values)
    except ValidationError as error:
        raise _refusal(error) from None
    _refuse_contradictions(settings)
    return settings


def to_yaml(settings: TrainSettings) -> str:
    """Return `settings` as YAML that `--settings` reads back to the same settings."""
    values = settings.model_dump(mode="json")
    plain = {name.replace("_", "-"): value for name, value in values.items() if value is not None}
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    """A safe loader that also refuses a duplicate key."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.MarkedYAMLError(
                    problem=f"`{key}` is given twice", problem_mark=node.start_mark
                )
        return super().construct_mapping(node, deep=deep)


def _read_file(path: Path) -> dict[str, Any]:
    """Return the values of a settings file by setting name."""
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 -- a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsInvalid(
            f"The settings file {path} can't be read: {' '.join(str(error).split())}.",
            "Without them the run would use other settings than intended.",
            "Correct the path or the file; each line is `name: value`.",
        ) from None
    if not isinstance(found, dict):
        raise SettingsInvalid(
            f"The settings file {path} contains {type(found).__name__}, but must contain `name: value`.",
            "The names of the settings are missing.",
            "Write one setting per line, like `learning-rate: 5e-6`.",
        )
    values: dict[str, Any] = {}
    known = [name.replace("_", "-") for name in TrainSettings.model_fields]
    for key, value in found.items():
        name = str(key).replace("-", "_")
        if name not in TrainSettings.model_fields:
            raise SettingsInvalid(
                f"{path} sets '{key}', which is not a setting.{nearest(str(key), known)}",
                "A misspelt setting would silently have its default.",
                "Correct the name; `--help` lists them all, without the two dashes.",
            )
        if name in values:
            raise SettingsInvalid(
                f"{path} sets '{key}' twice, once with dashes and once with underscores.",
                "Only one of the two values can be used.",
                "Remove one of them.",
            )
        is_alone = isinstance(value, str) and _is_repeatable(TrainSettings.model_fields[name])
        values[name] = [value] if is_alone else value
    return values


def _refuse_contradictions(settings: TrainSettings) -> None:
    """Raise `SettingsInvalid` for two settings that are valid alone but not together."""
    if settings.init_from is not None and settings.resume:
        raise SettingsInvalid(
            f"--init-from {settings.init_from} and --resume {settings.resume} were both given.",
            "The first begins a new run from weights, the second continues a run.",
            "Use only --resume to continue, or only --init-from to begin.",
        )
    if settings.train_layers != "auto":
        require_choice(settings.train_layers)
    of_adapters = [
        name for name in _OF_ADAPTERS if getattr(settings, name) != _FIELDS[name].default
    ]
    if of_adapters and not settings.lora_rank:
        raise SettingsInvalid(
            f"{_listed([flag(name) for name in of_adapters])} without --lora-rank.",
            "It describes adapters to train, and there are none. (The alpha of an adapter that lies "
            "unmerged in the file to start from is --adapter-alpha.)",
            "Add --lora-rank, or omit it.",
        )
    if settings.text_loss_weight == settings.mel_loss_weight == 0:
        raise SettingsInvalid(
            "--text-loss-weight and --mel-loss-weight are both 0.",
            "The total loss would always be 0.",
            "Set at least one of them above 0; the defaults are 0.2 and 0.8.",
        )


def _refusal(error: ValidationError) -> SettingsInvalid:
    """Turn pydantic's errors into one message that names the flags."""
    found: dict[str, ErrorDetails] = {}
    for detail in error.errors():
        found.setdefault(str(detail["loc"][0]), detail)
    fields = TrainSettings.model_fields
    faults, reasons, remedies = [], [], []
    for name, detail in found.items():
        field = fields[name]
        wanted = _range(field, has_ceiling=detail["type"] == "less_than_equal")
        faults.append(f"{flag(name)} is {detail['input']!r}, but must be {wanted}.")
        reasons.append(f"{flag(name)} means: {_description(field)}")
        default = "" if field.is_required() else f" (the default is {_default(field)})"
        remedies.append(f"Give {flag(name)} {wanted}{default}.")
    return SettingsInvalid("\n".join(faults), "\n".join(reasons), "\n".join(remedies))


def _range(field: FieldInfo, *, has_ceiling: bool = False) -> str:
    """Describe the valid values of a field; the upper limit of all numbers only `has_ceiling`."""
    if _is_switch(field):
        return "true or false"
    if choices := _choices(field):
        return "one of " + ", ".join(choices)
    if _is_repeatable(field):
        kinds = get_args(field.annotation)
        choices = [w for kind in kinds if get_origin(kind) is Literal for w in get_args(kind)]
        return f"one of {', '.join(choices)}" if choices else "a file name, or a list of them"
    types_ = _types(field)
    limits = {key: value for item in _metadata(field) for key, value in _limits(item)}
    if "pattern" in limits:
        is_device = "cuda" in str(limits["pattern"])
        return "auto, cpu, cuda or cuda:N" if is_device else "as its help shows"
    if int in types_ or float in types_:
        text = "a whole number" if int in types_ else "a finite number"
        words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
        if not has_ceiling:
            limits.pop("le", None)
        bounds = [f"{words[key]} {value}" for key, value in limits.items() if key in words]
        rest = " or none" if "none" in _literals(field) else ""
        return " ".join([text, " and ".join(bounds)]) + rest
    return "a path" if Path in types_ else "text"


def _help(field: FieldInfo) -> str:
    default = "" if field.is_required() or _is_repeatable(field) else f" [{_default(field)}]"
    required = " Required." if field.is_required() else ""
    return (_description(field) + default + required).replace("%", "%%")


def _default(field: FieldInfo) -> str:
    """Return the default as it is written on the command line."""
    value = field.default
    if value is None or value is PydanticUndefined:
        return "automatic" if _is_switch(field) else "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Path):
        return value.as_posix()
    return f"{value:g}" if isinstance(value, float) else str(value) or "off"


def _description(field: FieldInfo) -> str:
    assert field.description is not None
    return field.description


def _parts(kind: Any) -> list[Any]:
    """Return the types and metadata of an annotation."""
    if get_origin(kind) is Annotated:
        inner, *metadata = get_args(kind)
        return [*_parts(inner), *metadata]
    if get_origin(kind) in {Union, types.UnionType}:
        return [part for option in get_args(kind) for part in _parts(option)]
    return [kind]


def _types(field: FieldInfo) -> list[Any]:
    return [part for part in _parts(field.annotation) if isinstance(part, type)]


def _literals(field: FieldInfo) -> list[str]:
    parts = _parts(field.annotation)
    return [word for part in parts if get_origin(part) is Literal for word in get_args(part)]


def _choices(field: FieldInfo) -> list[str]:
    """Return the words of a field whose value is one of several words, else an empty list."""
    return [] if int in _types(field) else _literals(field)


def _is_switch(field: FieldInfo) -> bool:
    return bool in _types(field)


def _is_repeatable(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is tuple


def _metadata(field: FieldInfo) -> list[Any]:
    """Return the constraints of a field, which pydantic keeps in several places."""
    nested = [part for part in _parts(field.annotation) if not isinstance(part, type)]
    inner = [item for part in nested if isinstance(part, FieldInfo) for item in part.metadata]
    return [*field.metadata, *inner]


def _limits(item: Any) -> list[tuple[str, Any]]:
    names = ("ge", "gt", "le", "lt", "pattern")
    return [(name, getattr(item, name)) for name in names if getattr(item, name, None) is not None]


def _listed(words: list[str]) -> str:
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else words[0]
