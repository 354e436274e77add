"""The results of a demo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unbroken_tts.demo.proof import ProofRow
from unbroken_tts.demo.runs import Runs
from unbroken_tts.demo.scale import Scale
from unbroken_tts.demo.speech import Judgement, Speech


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A finished demo."""

    scale: Scale
    """Its numbers."""
    kill_seed: int
    """Seed for the moments of the kills."""
    base_rows: int
    """Rows of the base's vocabulary, frozen in A and B."""
    runs: Runs
    """The trainings."""
    speech: dict[str, Sequence[Speech]]
    """The speech of A and B, by name."""
    rows: list[ProofRow]
    """The rows of the table."""
    trained: Judgement
    """Judgement of the sentences of the training data, spoken by A."""
    control: Judgement
    """The same with the texts exchanged: almost none should be recognised."""
    unseen: Judgement | None
    """Judgement of the sentences held back."""

    @property
    def is_proved(self) -> bool:
        """Whether every comparison agrees."""
        return all(row.is_equal for row in self.rows)

    def judged(self) -> list[str]:
        """Return the judgements of the speech as sentences."""
        chance = 100 / self.trained.candidates
        lines = [
            (
                f"Of {self.trained.of} sentences trained on, {self.trained.right} are recognised among "
                f"{self.trained.candidates} recordings of the same voice (MFCC and time warping; "
                f"chance: {chance:.0f} %)."
            ),
            (
                f"With the texts exchanged, {self.control.right} of {self.control.of}; few, if the "
                "words come from the text."
            ),
        ]
        if self.unseen:
            near = ", ".join(str(rank) for rank in self.unseen.ranks)
            lines.append(
                f"Of {self.unseen.of} sentences held back, {self.unseen.right}; the ranks of "
                f"their own recordings are {near}."
            )
        if self.scale.name != "full":
            lines.append(
                f"The {self.scale.name} demo trains briefly; the full one speaks more clearly."
            )
        return lines
