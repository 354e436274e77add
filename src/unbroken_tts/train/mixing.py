"""Shares of languages in every epoch (`--mix`), by tokens."""

from __future__ import annotations

from collections import Counter

from unbroken import Mix, SettingsInvalid, counted
from unbroken_tts.data.pairs import Pairs
from unbroken_tts.settings import TrainSettings

_FAR = 0.02


def shares_of(text: str) -> dict[str, float]:
    """Return language -> share of a `--mix`, such as `am=0.85,en=0.15`.

    Raises:
        SettingsInvalid: A language is named twice.
    """
    parts = [part.partition("=") for part in text.split(",")]
    names = [name.strip().lower() for name, _, _ in parts]
    if len(set(names)) < len(names):
        raise SettingsInvalid(
            f"--mix {text} names a language twice.",
            "It has one share of every epoch.",
            "Name each language once, as in --mix am=0.85,en=0.15.",
        )
    return {name: float(share) for name, (_, _, share) in zip(names, parts, strict=True)}


def mix_of(settings: TrainSettings, pairs: Pairs) -> Mix | None:
    """Return the mix of the training data; None without `--mix`.

    Raises:
        SettingsInvalid: It doesn't name exactly the languages of the data.
    """
    if not settings.mix:
        return None
    shares = shares_of(settings.mix)
    counts = dict(sorted(Counter(pairs.languages).items()))
    if counts.keys() != shares.keys():
        found = ", ".join(f"{name or 'no language'} ({count})" for name, count in counts.items())
        raise SettingsInvalid(
            f"--mix {settings.mix} doesn't name exactly the languages of the training data: {found}.",
            "Samples without a share would be left out silently, and a share without samples can't be "
            "met.",
            "Name each language once. Set that of a manifest whose lines name none by its suffix: "
            "--train-manifest PATH::en.",
        )
    # Two more for text and codes each: what is computed for a sample besides its tokens.
    return Mix(pairs.languages, shares, pairs.text_lengths + pairs.code_lengths + 4)


def _really(asked: float, share: float) -> str:
    """Return what whole samples make of a share, where that is far from it."""
    return f", in whole samples {100 * share:.3g} %," if abs(asked - share) > _FAR else ""


def told(mix: Mix) -> str:
    """Return what a mix means for an epoch, as one line."""
    parts = [
        f"{name} {100 * share:.4g} % of the tokens{_really(share, mix.realised[name])} "
        f"({counted(mix.counts[name], 'sample')}, "
        f"{'each once' if name == mix.leading else f'{mix.passes[name]:.3g} passes'})"
        for name, share in mix.shares.items()
    ]
    return f"Mix of an epoch: {', '.join(parts)}"
