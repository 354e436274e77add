"""Which tensors of a model are trained: chosen layers, and LoRA adapters on others.

What is not trained is frozen by its structure: it has no gradient, is in no optimiser, and so has no
moments and no weight decay. Names are those of a `gpt.pth`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from unbroken import SettingsInvalid, counted
from unbroken_tts.model.gpt_file import trained_shapes

if TYPE_CHECKING:
    from unbroken_tts.model.config import GptConfig
    from unbroken_tts.model.gpt_file import Shape

PROJECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "attention": ("attn.c_attn", "attn.c_proj"),
    "mlp": ("mlp.c_fc", "mlp.c_proj"),
    "all": ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"),
}
"""Projections of a block that can have adapters, by the name of the choice."""

_BLOCK: Final = re.compile(r"^gpt\.h\.([0-9]+)\.")
_TEXT: Final = frozenset({"text_embedding", "text_head"})
_MEL: Final = frozenset({"mel_embedding", "mel_head"})
_POSITIONS: Final = frozenset({"text_pos_embedding", "mel_pos_embedding"})
_NORMS: Final = frozenset({"ln_f", "final_norm"})
_LANGUAGES: Final = "lang_embedding"
_OUTSIDE: Final = _TEXT | _MEL | _POSITIONS | _NORMS | {"speed_emb", "spk_emb_proj", _LANGUAGES}
_MODULES: Final[Mapping[str, frozenset[str]]] = {
    "all": _OUTSIDE,
    "text": _TEXT,
    "mel": _MEL,
    "heads": frozenset({"text_head", "mel_head"}),
    "embeddings": frozenset({"text_embedding", "mel_embedding", "speed_emb"}) | _POSITIONS,
    "positions": _POSITIONS,
    "norms": _NORMS,
}
_MOST_BLOCKS: Final = 1_000_000
_RANGE: Final = re.compile(r"^(?P<first>[0-9]{1,6})(-(?P<last>[0-9]{1,6}))?$")
_END: Final = re.compile(r"^(?P<end>first|last):(?P<count>[0-9]{1,6})$")

CHOICES: Final = (
    "auto, all, none, or a list with commas of: blocks, numbers of blocks such as 0-3,22, first:N, "
    "last:N, text, mel, heads, embeddings, positions, norms"
)
"""What a choice of layers may consist of, for messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """Low-rank adapters: W' = W + alpha / rank * B A (Hu et al. 2021, section 4.1)."""

    rank: int
    alpha: float
    dropout: float
    """Probability of dropping an input of an adapter, in training."""
    targets: str
    """A key of `PROJECTIONS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedPart:
    """What of a model is trained."""

    groups: frozenset[str]
    """Trained as they are: numbers of blocks and names of the modules outside of them."""
    blocks: int
    """Blocks of the model."""
    lora: Lora | None = None
    """Adapters of the blocks that are not trained as they are."""

    @classmethod
    def whole(cls, blocks: int) -> TrainedPart:
        """Return the choice of everything."""
        return cls(groups=chosen_groups("all", blocks), blocks=blocks)

    @property
    def is_whole(self) -> bool:
        """Whether everything is trained."""
        return len(self.groups) == self.blocks + len(_OUTSIDE)

    @property
    def adapted(self) -> tuple[str, ...]:
        """Names of the layers that have adapters, such as `gpt.h.0.attn.c_attn`."""
        if self.lora is None:
            return ()
        return tuple(
            f"gpt.h.{block}.{projection}"
            for block in range(self.blocks)
            if str(block) not in self.groups
            for projection in PROJECTIONS[self.lora.targets]
        )

    def trains(self, name: str) -> bool:
        """Return whether a tensor of the model is trained as it is, by its name.

        The row of the new language always is: no choice of layers can do without it.
        """
        return group_of(name) in self.groups | {_LANGUAGES}

    def numbers(self, config: GptConfig, vocabulary: int) -> tuple[int, int]:
        """Return how many numbers are trained, and how many are frozen, before any has memory.

        Args:
            config: The model.
            vocabulary: Pieces of the tokenizer.
        """
        shapes = trained_shapes(config, vocabulary)
        kept = {name: math.prod(shape) for name, shape in shapes.items()}
        trained = sum(count for name, count in kept.items() if self.trains(name))
        return trained + self.adapter_numbers(shapes), sum(kept.values()) - trained

    def adapter_numbers(self, shapes: Mapping[str, Shape]) -> int:
        """Return how many numbers the adapters have: rank times inputs and outputs of each layer."""
        rank = self.lora.rank if self.lora else 0
        return sum(rank * sum(shapes[f"{layer}.weight"]) for layer in self.adapted)

    def recorded(self) -> dict[str, Any]:
        """Return it as a fact of a run; `of_record` reads it."""
        lora = self.lora and {
            "rank": self.lora.rank,
            "alpha": self.lora.alpha,
            "dropout": self.lora.dropout,
            "targets": self.lora.targets,
        }
        return {"groups": sorted(self.groups, key=_by_number), "blocks": self.blocks, "lora": lora}

    @classmethod
    def of_record(cls, record: Mapping[str, Any] | None) -> TrainedPart | None:
        """Return what `recorded` wrote; None where a run trains everything.

        Raises:
            SettingsInvalid: It is of a later version, or was edited.
        """
        if record is None:
            return None
        try:
            lora = record["lora"] and Lora(**record["lora"])
            found = cls(groups=frozenset(record["groups"]), blocks=record["blocks"], lora=lora)
            known = {*map(str, range(found.blocks)), *_OUTSIDE}
        except (KeyError, TypeError, AttributeError) as error:
            raise _unknown(record) from error
        if not found.groups <= known or (lora is not None and lora.targets not in PROJECTIONS):
            raise _unknown(record)
        return found

    def __str__(self) -> str:
        """Describe what is trained, for people."""
        named = shown_groups(self.groups, self.blocks)
        if self.lora is None:
            return named
        lora = self.lora
        where = counted(len({group_of(f"{layer}.") for layer in self.adapted}), "block")
        projections = (
            "all projections" if lora.targets == "all" else f"the {lora.targets} projections"
        )
        adapters = (
            f"adapters of rank {lora.rank}, alpha {lora.alpha:g}, on {projections} of {where}"
        )
        return f"{adapters}; {named}" if self.groups else adapters


def group_of(name: str) -> str:
    """Return the group of a tensor: the number of its block, or the module it lies in."""
    found = _BLOCK.match(name)
    return found[1] if found else name.removeprefix("gpt.").split(".", 1)[0]


def shown_groups(groups: frozenset[str], blocks: int) -> str:
    """Return groups for people, such as `blocks 0-3, 23, text_head`."""
    if len(groups) == blocks + len(_OUTSIDE):
        return "all layers"
    numbers = sorted(int(each) for each in groups if each.isdigit())
    spans: list[list[int]] = []
    for each in numbers:
        if spans and spans[-1][-1] == each - 1:
            spans[-1][1:] = [each]
        else:
            spans.append([each])
    words = ["-".join(map(str, span)) for span in spans]
    named = (
        [f"blocks {', '.join(words)}" if len(numbers) > 1 else f"block {words[0]}"] if words else []
    )
    return ", ".join([*named, *sorted(each for each in groups if not each.isdigit())]) or "nothing"


def require_choice(choice: str) -> None:
    """Refuse what is no choice of layers of any model.

    Raises:
        SettingsInvalid: It isn't one.
    """
    _words_of(choice, _MOST_BLOCKS)


def chosen_groups(choice: str, blocks: int) -> frozenset[str]:
    """Return the groups that a choice of layers names.

    Args:
        choice: As typed, such as `last:4,heads`.
        blocks: Blocks of the model.

    Raises:
        SettingsInvalid: It is no choice, names a block that isn't there, or names one twice.
    """
    words = _words_of(choice, blocks)
    numbers = (map(str, span) for span in words.values())
    modules = (_MODULES.get(word, frozenset()) for word in words)
    return frozenset().union(*numbers, *modules)


def _words_of(choice: str, blocks: int) -> dict[str, range]:
    """Return each word of a choice with the blocks that it names."""
    words = [each.strip() for each in choice.split(",")]
    doubled = [word for word, count in Counter(words).items() if count > 1]
    if doubled:
        raise _refusal(choice, f"names {doubled[0]!r} twice")
    if len(words) > 1 and {"all", "none"} & set(words):
        raise _refusal(choice, "joins all or none with something else")
    return {word: _blocks_of(choice, word, blocks) for word in words}


def _blocks_of(choice: str, word: str, blocks: int) -> range:
    end, span = _END.match(word), _RANGE.match(word)
    if word in {"all", "blocks"}:
        return range(blocks)
    if word in _MODULES or word == "none":
        return range(0)
    if end:
        count = int(end["count"])
        found = range(count) if end["end"] == "first" else range(blocks - count, blocks)
    elif span:
        found = range(int(span["first"]), int(span["last"] or span["first"]) + 1)
    else:
        raise _refusal(choice, f"has {word!r}, which is no layer")
    if not found:
        raise _refusal(choice, f"has {word!r}, which are no blocks")
    if found[0] < 0 or found[-1] >= blocks:
        raise _refusal(
            choice, f"has {word!r}, and the model has {counted(blocks, 'block')}, from 0"
        )
    return found


def _refusal(choice: str, what: str) -> SettingsInvalid:
    return SettingsInvalid(
        f"--train-layers {choice} {what}.",
        "It decides which layers are trained; all others are frozen.",
        f"Give it {CHOICES}.",
    )


def _by_number(group: str) -> tuple[int, str]:
    return (int(group), "") if group.isdigit() else (1 << 20, group)


def _unknown(record: Mapping[str, Any]) -> SettingsInvalid:
    return SettingsInvalid(
        f"The run says of what it trains {str(record)[:200]}, which this version doesn't know.",
        "Other layers would be trained or exported than the run's.",
        "Use the version that wrote the run, or a newer one.",
    )
