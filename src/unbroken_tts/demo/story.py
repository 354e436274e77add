"""What happened in a demo, and what it showed."""

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
    """What decided when B died."""
    base_rows: int
    """Rows of the base's vocabulary, frozen in A and B."""
    runs: Runs
    """The trainings."""
    speech: dict[str, Sequence[Speech]]
    """What A and B said, under their names."""
    rows: list[ProofRow]
    """The table of proof."""
    trained: Judgement
    """Of the sentences trained on, as A says them."""
    control: Judgement
    """The same with the texts exchanged: it should recognise almost nothing."""
    unseen: Judgement | None
    """Of the sentences held back."""

    @property
    def is_proved(self) -> bool:
        """Whether every comparison agrees."""
        return all(row.is_equal for row in self.rows)

    def judged(self) -> list[str]:
        """Return what the judge of the speech found, for people."""
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
                f"Of {self.unseen.of} sentences never seen, {self.unseen.right}; the places of "
                f"their own recordings are {near}."
            )
        if self.scale.name != "full":
            lines.append(
                f"The {self.scale.name} demo trains briefly; the full one speaks more clearly."
            )
        return lines
