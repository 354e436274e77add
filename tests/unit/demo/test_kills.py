from __future__ import annotations

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from unbroken_tts.demo.kills import Kill, kills_of, workers_of
from unbroken_tts.demo.scale import FULL, MICRO_BATCH, QUICK, Scale

SEEDS = st.integers(0, 2**63 - 1)


@given(SEEDS, st.sampled_from([FULL, QUICK]), st.integers(5, 60))
def test_each_kind_of_death_comes_once_and_in_time(
    seed: int, scale: Scale, steps_per_epoch: int
) -> None:
    """Between two steps, inside a step, during a save: in order, before the end, each once."""
    kills = kills_of(seed, scale, steps_per_epoch)
    assert ["step", "inside", "save"] == [kill.moment.partition(":")[0] for kill in kills]
    steps = [kill.step for kill in kills]
    assert sorted(set(steps)) == steps
    assert 0 < steps[0] <= steps[-1] < scale.steps


@given(SEEDS)
def test_the_moments_are_what_they_are_called(seed: int) -> None:
    """Mid-epoch is off the ends of epochs; inside is behind a micro-batch; a save is due there."""
    between, inside, save = kills_of(seed, FULL, 23)
    assert between.step % 23 not in {0, 22}
    assert f"inside:{inside.step + 1}:{MICRO_BATCH}" == inside.moment
    assert 0 == save.step % FULL.save_every
    assert re.fullmatch(rf"save:{save.step}:([3-9]|1[0-2])", save.moment)


def test_a_seed_means_the_same_moments_for_ever() -> None:
    """A demo can be repeated; another seed gives other moments."""
    assert kills_of(7, FULL, 23) == kills_of(7, FULL, 23)
    assert 20 < len({kills_of(seed, FULL, 23) for seed in range(30)})


def test_the_number_of_workers_changes_at_every_resume() -> None:
    """No two starts in a row read with the same number of workers."""
    workers = [workers_of(start) for start in range(4)]
    assert all(first != second for first, second in itertools.pairwise(workers))


def test_a_kill_is_told_as_it_was() -> None:
    """Where training had gone on during a save, the words say so."""
    assert "inside step 42, after its first 8 samples" == Kill(moment="inside:40:8", step=41).words
    told = Kill(moment="save:60:5", step=62).words
    assert "the save after step 60" in told
    assert "while step 63 was trained" in told
