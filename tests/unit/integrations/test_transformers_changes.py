"""What is changed between two starts of a protected Trainer is told by name before a step is trained."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

import unbroken
from support.hf_training import Killed, Lines, trained, trainer_of
from unbroken.integrations.transformers import protect
from unbroken.integrations.transformers.run_facts import data_set, saved_form


def tokenizer(*words: str) -> Any:
    """Return a tokenizer of some words."""
    known = {"[UNK]": 0, **{each: i + 1 for i, each in enumerate(words)}}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(known, unk_token="[UNK]")),  # noqa: S106  # a word
        unk_token="[UNK]",  # noqa: S106  # likewise
        pad_token="[UNK]",  # noqa: S106  # likewise
    )


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was killed after its fifth step, and saved after the third."""
    place: Path = tmp_path_factory.mktemp("begun") / "run"
    with pytest.raises(Killed):
        trained(place, **{"raise": 5, "processing_class": tokenizer("a", "b")})
    return place


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"learning_rate": 5e-3}, "settings.learning_rate is 0.005, was 0.01"),
    ({"per_device_train_batch_size": 4}, "settings.per_device_train_batch_size is 4, was 3"),
    ({"seed": 7}, "settings.seed is 7, was 42"),
    ({"data": Lines(shift=1)}, "data.train.digest"),
    ({"processing_class": tokenizer("a", "c")}, "tokenizer"),
    ({"config": {"resid_pdrop": 0.3}}, "model.resid_pdrop is 0.3, was 0.1"),
]  # fmt: skip
MORE_CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"gradient_accumulation_steps": 1}, "settings.gradient_accumulation_steps is 1, was 2"),
    ({"num_train_epochs": 5}, "settings.num_train_epochs is 5, was 2"),
    ({"bf16": True}, "settings.bf16 is True, was False"),
    ({"lr_scheduler_type": "cosine"}, "settings.lr_scheduler_type"),
    ({"data": Lines(23)}, "data.train.samples is 23, was 22"),
    ({"eval_data": Lines(8)}, "data.eval.all.samples is 8, was 9"),
    ({"processing_class": None}, "tokenizer"),
    ({"config": {"n_embd": 32}}, "model.n_embd is 32, was 16"),
    ({"patience": 3, "eval_strategy": "steps", "metric_for_best_model": "loss"}, "trainer.callbacks"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "told"),
    [*CHANGES, *(pytest.param(*each, marks=pytest.mark.slow) for each in MORE_CHANGES)],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_a_change_is_refused(
    begun: Path, tmp_path: Path, changed: dict[str, Any], told: str
) -> None:
    """By the name of the argument, or of what was built, with both values; nothing is trained."""
    place = tmp_path / "run"
    shutil.copytree(begun, place)
    before = (place / "unbroken" / "journal.jsonl").read_bytes()
    folders = sorted(each.name for each in place.iterdir())
    chosen = {"processing_class": tokenizer("a", "b"), **changed}
    with pytest.raises(unbroken.ResumeRefused) as refused:
        trained(place, **chosen)
    assert told in refused.value.what
    assert before == (place / "unbroken" / "journal.jsonl").read_bytes()
    assert folders == sorted(each.name for each in place.iterdir())


def test_what_decides_nothing_may_change(begun: Path, tmp_path: Path) -> None:
    """Logs, saves, workers and the place of the run; the resume is exact."""
    place = tmp_path / "moved"
    shutil.copytree(begun, place)
    chosen = {"logging_steps": 1, "save_steps": 4, "save_total_limit": 1, "run_name": "second"}
    _, trainer = trained(place, processing_class=tokenizer("a", "b"), **chosen)
    assert "EXACT" == str(trainer.unbroken.verdict.outcome)
    assert ["checkpoint-8"] == [each.name for each in place.glob("checkpoint-*")]


@pytest.mark.slow
def test_a_change_that_is_meant_is_taken(begun: Path, tmp_path: Path) -> None:
    """`accept` takes the new value, and the training goes on with it."""
    place = tmp_path / "run"
    shutil.copytree(begun, place)
    result, _ = trained(
        place,
        processing_class=tokenizer("a", "b"),
        max_grad_norm=0.5,
        protect={"accept": ["settings-unchanged"], "on_diverged": "continue"},
    )
    assert 8 == result["steps"]


def test_a_call_of_a_tokenizer_does_not_change_it(tmp_path: Path) -> None:
    """Truncation and padding are set by each call; they are no part of the comparison."""
    one, other = tokenizer("a", "b"), tokenizer("a", "b")
    other(["a b", "a"], truncation=True, max_length=1, padding=True)
    digests = [saved_form(each, tmp_path / "scratch") for each in (one, other)]
    assert digests[0] == digests[1] != saved_form(tokenizer("b", "a"), tmp_path / "scratch")
    assert not (tmp_path / "scratch").exists()


def test_the_fingerprint_of_data_that_draw_from_the_clock_is_their_number() -> None:
    """What can't be read again isn't compared; what draws from the generators is."""

    class Clock(Lines):
        count_of_reads = 0

        def __getitem__(self, index: int) -> Any:
            self.count_of_reads += 1
            return {"n": self.count_of_reads}

    assert {"samples": 22} == data_set(Clock())
    assert data_set(Lines()) == data_set(Lines())
    assert {"samples", "digest"} == data_set(Lines()).keys()


@pytest.mark.slow
def test_a_directory_of_a_trainer_without_protect_is_refused(tmp_path: Path) -> None:
    """A new run would replace its folders; with `begin_anew` that is meant."""
    place = tmp_path / "run"
    trainer_of(place, max_steps=3).train()
    with pytest.raises(unbroken.NoUsableCheckpoint, match="checkpoint-3 stands there"):
        trained(place, max_steps=1)
    assert not (place / "unbroken").exists()
    result, trainer = trained(place, max_steps=1, protect={"begin_anew": True})
    assert (1, "began") == (result["steps"], trainer.unbroken.report.outcome)


def test_a_callback_that_says_nothing_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By its class and what it changes, once; one that changes nothing is not."""

    class Counts(transformers.TrainerCallback):  # type: ignore[misc]  # transformers has no types here
        steps = 0

        def on_step_end(self, *_args: Any, **_kwargs: Any) -> None:
            self.steps += 1

    callback = Counts()
    callback.steps = 0
    trained(tmp_path / "run", save_steps=1, max_steps=3, callbacks=[callback])
    told = [each.message for each in caplog.records if "in no checkpoint" in each.message]
    assert 1 == len(told)
    assert told[0].startswith("Counts changes steps while training")


def test_true_begins_where_nothing_is(tmp_path: Path) -> None:
    """With True there is no error where no state is yet: it begins."""
    trainer = protect(trainer_of(tmp_path / "run", max_steps=1))
    assert 1 == trainer.train(resume_from_checkpoint=True).global_step
    assert "began" == trainer.unbroken.report.outcome


def test_a_finished_training_that_is_started_again_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is trained, and nothing is left unproved; the weights are those of the end."""
    whole, _ = trained(tmp_path / "run")
    caplog.set_level("INFO", "unbroken")
    again, trainer = trained(tmp_path / "run")
    assert whole["weights"] == again["weights"]
    assert "[Resume] the run is finished, at step " in caplog.text
    assert "UNPROVED" not in caplog.text
    assert trainer.unbroken.verdict is None
