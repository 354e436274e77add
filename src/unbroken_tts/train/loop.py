"""The training loop.

1. Finish a validation that a stop interrupted.
2. For each step: count its tokens, run its micro-batches forward and backward, update.
3. After each update: update the moving average and the logbook.
4. When due: validate, and save a checkpoint if the score is the best so far.

`Run` takes care of checkpoints, journal and stop requests.
"""

from __future__ import annotations

from contextlib import closing

import torch

from unbroken import Step, StepResult, StopRequest
from unbroken_tts.data.batch import Batch
from unbroken_tts.data.samples import PairDataset
from unbroken_tts.model.losses import TokenTotals, legacy_loss, weighted_loss
from unbroken_tts.train.console import Console
from unbroken_tts.train.halving import HalvedSteps
from unbroken_tts.train.languages import forgotten, learnt_language
from unbroken_tts.train.loader import MicroBatchLoader, batch_maker
from unbroken_tts.train.logbook import Logbook
from unbroken_tts.train.session import TrainingSession
from unbroken_tts.train.speaking import speak_samples
from unbroken_tts.train.validation import Interrupted, Validated, is_due


def train_until_done(session: TrainingSession, console: Console, logbook: Logbook) -> None:
    """Train to the end of the run.

    Raises:
        Stopped: A stop was asked for; the state is saved.
        TrainingWentBad: A loss or gradient was not finite.
    """
    run = session.run
    session.built.model.train()
    # `run.steps` listens for stop requests itself; the first validation and the loader don't.
    with (
        run.stop.listening(),
        console.progress("Training", total=session.until, done=run.position.step) as report,
    ):
        stopping = Stopping(run.stop, console)
        measure_old_languages(session, console, logbook)
        validate_where_due(session, console, logbook)
        with closing(_loader(session)) as loader:
            halved = _halved_steps(session, console, loader)
            for step in run.steps(session.until):
                totals = _totals(session, step)

                def micro_batch(
                    batch: Batch, size: int, step: Step = step, totals: TokenTotals = totals
                ) -> None:
                    train_micro_batch(session, step, totals, batch, size)
                    stopping.say_once()

                halved.train(step, micro_batch)
                result = step.update(session.settings.grad_clip, session.settings.on_nonfinite)
                _after_update(session, logbook, result, totals)
                report(result.step, session.until)
                validate_where_due(session, console, logbook)


class Stopping:
    """Reports once that a stop is under way, since up to two more steps take time."""

    def __init__(self, stop: StopRequest, console: Console) -> None:
        self._stop = stop
        self._console = console
        self._is_said = False

    def say_once(self) -> None:
        """Print the line if a stop was requested and nothing was printed yet."""
        if self._is_said or not self._stop.is_made:
            return
        self._is_said = True
        self._console.line(
            f"Stopping ({self._stop.reason}): saving, then training up to two more steps while "
            "time remains, to compare the next start with; a second request ends at once"
        )


def _loader(session: TrainingSession) -> MicroBatchLoader:
    return MicroBatchLoader(
        PairDataset(session.inputs.train.pairs),
        session.run.order,
        session.run.position,
        session.until,
        size=session.plan.batch,
        workers=session.workers,
        config=session.built.model.config,
        pin=session.built.model.final_norm.weight.is_cuda,
    )


def _totals(session: TrainingSession, step: Step) -> TokenTotals:
    pairs = session.inputs.train.pairs
    indices = list(step.indices)
    return TokenTotals(
        text=int(pairs.text_lengths[indices].sum()) + len(indices),
        mel=int(pairs.code_lengths[indices].sum()) + len(indices),
    )


def _halved_steps(
    session: TrainingSession, console: Console, loader: MicroBatchLoader
) -> HalvedSteps:
    dataset = PairDataset(session.inputs.train.pairs)
    reported: set[int] = set()

    def tell(step: int, size: int, half: int) -> None:
        if size in reported:
            return
        reported.add(size)
        session.run.note("out of memory", step=step, batch=size, repeated_with=half)
        console.line(
            f"Step {step}: a micro-batch of {size} samples doesn't fit into the device's memory; the "
            f"step is repeated with {half}, and so is each later step that doesn't fit. "
            f"--batch-size {half} avoids the failed attempts."
        )

    return HalvedSteps(
        loader,
        dataset.__getitem__,
        batch_maker(session.built.model.config),
        session.plan.batch,
        tell,
    )


def train_micro_batch(
    session: TrainingSession, step: Step, totals: TokenTotals, batch: Batch, size: int
) -> None:
    """Run forward and backward on one micro-batch of a step with micro-batches of `size`."""
    settings = session.settings
    with session.autocast():
        sums = session.built.model(batch, settings.layout)
    if settings.loss_weighting == "legacy":
        count = -(-len(step.indices) // size)
        loss = legacy_loss(sums, settings.text_loss_weight, settings.mel_loss_weight, count)
    else:
        loss = weighted_loss(sums, totals, settings.text_loss_weight, settings.mel_loss_weight)
    step.backward(
        loss,
        text_loss=sums.text_loss_sum / totals.text,
        mel_loss=sums.mel_loss_sum / totals.mel,
        mel_top1=sums.mel_top1_hits / totals.mel,
    )


def _after_update(
    session: TrainingSession, logbook: Logbook, result: StepResult, totals: TokenTotals
) -> None:
    if session.built.ema is not None and not result.skipped:
        session.built.ema.update_parameters(session.built.model)
    epoch = result.step / session.run.order.steps_per_epoch
    logbook.step(result, tokens=totals.text + totals.mel, epoch=epoch)


def measure_old_languages(session: TrainingSession, console: Console, logbook: Logbook) -> None:
    """Validate before the first step, where a language could be forgotten, to know what was there."""
    languages = set(session.validation.languages.values())
    is_new = session.run.position.step == session.run.position.samples == 0
    if not is_new or session.best.languages or len(languages) < 2 or not session.until:
        return
    try:
        with console.progress("Validating", total=1) as report, torch.no_grad():
            found = session.validation.score(session.built.model, report)
    except Interrupted:
        return
    logbook.validated(0, found, session.validation.loss_of(found.scores), is_best=False)
    session.best.languages = {each.language: each.loss for each in found.languages}


def _watch_languages(session: TrainingSession, console: Console, found: Validated) -> None:
    """Warn of languages that got worse; a first validation is only remembered."""
    best = session.best
    if not best.languages:
        best.languages = {each.language: each.loss for each in found.languages}
    pairs, mix = session.inputs.train.pairs, session.run.order.mix
    learnt = learnt_language(session.settings, pairs, mix)
    for line in forgotten(
        found.languages, best.languages, learnt=learnt, guard=session.settings.forgetting_guard
    ):
        console.line(line)


def validate_where_due(session: TrainingSession, console: Console, logbook: Logbook) -> None:
    """Validate if it is due at this step and not done yet."""
    run, best = session.run, session.best
    done = run.position.step
    interval = session.settings.val_interval
    due = is_due(done, interval, run.order.steps_per_epoch) or done == session.until > 0
    if not due or best.validated_step == done or run.position.samples:
        return
    try:
        with console.progress("Validating", total=1) as report, torch.no_grad():
            found = session.validation.score(session.built.model, report)
    except Interrupted:
        return
    scores, loss = found.scores, session.validation.loss_of(found.scores)
    is_best = best.take(loss, done)
    logbook.validated(done, found, loss, is_best=is_best)
    _watch_languages(session, console, found)
    run.metrics = {"val_loss": loss}
    run.note("validation", step=done, loss=loss, text_loss=scores.text_loss,
             mel_loss=scores.mel_loss, mel_top1=scores.mel_top1, text_gap=found.text_gap)  # fmt: skip
    if is_best and session.settings.keep_best:
        run.save_in_background(at_once=True)
    speak_samples(session, logbook, done)
