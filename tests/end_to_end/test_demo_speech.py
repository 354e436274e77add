"""The full demo's speech follows its text: judged by MFCC and time warping, not by ear."""

from __future__ import annotations

import pytest

from unbroken_tts.demo.scale import FULL
from unbroken_tts.demo.show import show
from unbroken_tts.demo.story import Story


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Run the full demo."""
    return show(tmp_path_factory.mktemp("demo") / "out", FULL, kill_seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_trained_sentences_are_recognised(story: Story) -> None:
    """At least 10 of 12 among 32 recordings of the same voice; chance is 3 percent."""
    assert (12, 32) == (story.trained.of, story.trained.candidates)
    assert 10 <= story.trained.right


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_exchanged_texts_are_not_recognised(story: Story) -> None:
    """At most 3 of 12 when each prompt is given another's text: the words come from the text."""
    assert 12 == story.control.of
    assert 3 >= story.control.right


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_the_killed_run_is_proved_equal(story: Story) -> None:
    """Three kills leave no trace in the full demo either."""
    assert 3 == len(story.runs.kills)
    assert story.is_proved, [row.what for row in story.rows if not row.is_equal]
