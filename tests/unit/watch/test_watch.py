"""The watch raises no alarm on healthy noise and finds a break within steps, on both sides."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.loss_curves import NOISES, LossCurve
from unbroken.watch.foreseen_rates import ForeseenRates
from unbroken.watch.watch import Remark, Watch


def said(curve: LossCurve, until: int = 1000, **options: Any) -> list[tuple[int, Remark]]:
    """Return what was said, with the number of steps after the resume."""
    watch = Watch(curve.before(), **options)
    return [
        (number, remark)
        for number, line in enumerate(curve.after(), start=1)
        if number <= until
        for remark in watch.take(line)
    ]


def alarms(curve: LossCurve, until: int = 1000) -> list[tuple[int, Remark]]:
    return [each for each in said(curve, until) if each[1].is_alarm]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), noise=st.sampled_from(NOISES))
def test_a_healthy_resume_raises_no_alarm(seed: int, noise: str) -> None:
    """Whatever the curve, the stop and the noise: heavy tails and batches of other lengths too."""
    assert [] == alarms(LossCurve(seed, noise))


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISES)
def test_the_rate_of_false_alarms_is_below_one_in_a_hundred(noise: str) -> None:
    """300 simulated runs of each noise."""
    false = sum(bool(alarms(LossCurve(seed, noise))) for seed in range(300))
    print(f"{noise}: {false} false alarms in 300 runs of 1,000 steps")  # noqa: T201  # the figure
    assert false <= 3


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("seed", range(4))
def test_a_jump_from_2_1_to_6_2_is_found_within_a_few_steps(noise: str, seed: int) -> None:
    """It is called a loss spike, with both numbers in per cent and the mark it passes."""
    number, remark = alarms(LossCurve(seed, noise, factor=6.2 / 2.1, amount=0.05), 20)[0]
    assert number <= 8
    assert "loss spike" == remark.kind
    assert "beyond the 50 % mark" in remark.sentence


@pytest.mark.parametrize(("factor", "kind"), [(1.25, "loss spike"), (0.75, "suspicious drop")])
@pytest.mark.parametrize("seed", range(4))
def test_a_quarter_up_or_down_is_found_within_a_hundred_steps(
    factor: float, kind: str, seed: int
) -> None:
    """Both sides are news: repeated samples bring the loss down."""
    _, remark = alarms(LossCurve(seed, "normal", factor=factor, amount=0.05), 100)[0]
    assert kind == remark.kind
    assert "beyond the 20 % mark" in remark.sentence


def test_twenty_per_cent_is_found() -> None:
    """The mark that people look for, in a run whose steps vary by 3 %."""
    found = alarms(LossCurve(1, "normal", factor=1.2, amount=0.03), 100)
    assert ["loss spike"] == [each.kind for _, each in found]


def test_it_reports_at_100_and_at_1000_steps_and_no_more() -> None:
    """A healthy resume hears exactly two sentences."""
    curve = LossCurve(3, "normal", amount=0.02)
    found = said(curve)
    assert [100, 1000] == [number for number, _ in found]
    assert all("nothing unusual" in remark.sentence for _, remark in found)


def test_each_trouble_is_told_once_and_summed_up() -> None:
    """A loss that stays high isn't told at every step, but the reports remember it."""
    found = said(LossCurve(3, "normal", factor=3.0, amount=0.02))
    assert ["loss spike", "report", "report"] == [each.kind for _, each in found]
    assert "reported: loss spike" in found[-1][1].sentence


def flat(step: int, **other: Any) -> dict[str, Any]:
    wave = 1 + 0.01 * math.sin(1.7 * step)
    return {"step": step, "updates": step, "loss": 2 * wave, "grad_norm": wave, "lr": 1e-4} | {
        "modules_in_eval": 0,
        **other,
    }


def watch(**options: Any) -> Watch:
    return Watch([flat(n) for n in range(1, 301)], **options)


def kinds(found: Watch, **other: Any) -> set[str]:
    return {
        remark.kind
        for n in range(301, 401)
        for remark in found.take(flat(n, **other), 1.0)
        if remark.is_alarm
    }


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        ({"loss": "nan"}, "not finite"),
        ({"loss": math.inf}, "not finite"),
        ({"grad_norm": 5.0}, "gradient norm"),
        ({"grad_norm": 0.1}, "gradient norm"),
        ({"lr": 1e-5}, "learning rate"),
        ({"skipped": True}, "skipped updates"),
        ({"modules_in_eval": 1}, "evaluation mode"),
    ],
)
def test_other_trouble_has_its_own_name(other: dict[str, Any], kind: str) -> None:
    """Gradient norm on both sides, a leap of the rate, updates left out, what isn't finite."""
    assert {kind} == kinds(watch(), **other)


def foreseen(*rates: float) -> ForeseenRates:
    return ForeseenRates(updates=300, by_group={"o.0": rates, "o.1": rates}, journalled="o.0")


def test_a_rate_off_its_curve_is_told_at_its_step() -> None:
    """A curve that bends one step after the resume leaps nowhere, but it was foreseen."""
    assert {"learning rate"} == kinds(watch(rates=foreseen(1e-4, 1e-4, 1.01e-4)))
    assert set() == kinds(watch(rates=foreseen(1e-4, 1e-4, 1e-4)))


def test_a_rate_that_is_not_told_is_not_off_its_curve() -> None:
    """A loop of its own need not tell the rate; one whose schedule goes by epochs is not held to it."""
    assert set() == kinds(watch(rates=foreseen(1e-4, 1e-4)), lr="nan")
    by_epochs = ForeseenRates(updates=300, by_group={"o.0": [1e-4, 1e-5]})
    assert set() == kinds(watch(rates=by_epochs))


def test_every_group_is_held_to_its_curve() -> None:
    """The journal tells the first group's rate; the run tells all, and what is off is named."""
    found = watch(rates=foreseen(1e-4, 1e-4)).take(flat(301), rates={"o.0": 1e-4, "o.1": 5e-4})
    assert ["learning rate"] == [each.kind for each in found]
    assert "o.1 was stepped with 0.0005, its curve gives 0.0001 (+400.0 %)" in found[0].sentence


def test_a_skipped_update_uses_up_no_rate() -> None:
    """Rates go by updates that were made: one that was left out is tried again with the same."""
    held = watch(rates=foreseen(1e-4, 2e-4))
    lines = [flat(301, updates=300, skipped=True), flat(302, updates=301), flat(303, lr=2e-4)]
    lines[2]["updates"] = 302
    assert [] == [each for line in lines for each in held.take(line)]


def test_modules_that_always_were_in_evaluation_mode_are_no_news() -> None:
    """Batch norms that the loop holds still, and modules that go back to training, raise no alarm."""
    for now in (2, 0):
        held = Watch([flat(n, modules_in_eval=2) for n in range(1, 301)])
        assert set() == kinds(held, modules_in_eval=now)
    old = Watch([{k: v for k, v in flat(n).items() if k != "modules_in_eval"} for n in range(1, 9)])
    assert set() == kinds(old, modules_in_eval=2)


def test_a_slower_machine_is_told() -> None:
    """The pace before comes from the history; half as fast is news, the same isn't."""
    assert {"speed"} == kinds(watch(seconds_per_step=0.5))
    assert set() == kinds(watch(seconds_per_step=0.9))


def test_updates_that_were_always_left_out_are_no_news() -> None:
    """A scaler that searches its scale did so before."""
    before = [flat(n, skipped=n % 3 == 0) for n in range(1, 301)]
    found = Watch(before)
    assert not [r for n in range(301, 401) for r in found.take(flat(n, skipped=n % 3 == 0))][:-1]


def test_a_loss_that_stops_falling_is_a_plateau() -> None:
    """It is told with the report at 1,000 steps, as a note: it may have reached its floor."""
    falling = [flat(n, loss=6 - n / 500 + 0.01 * math.sin(n)) for n in range(1, 1001)]
    found = Watch(falling)
    remarks = [
        r for n in range(1001, 2001) for r in found.take(flat(n, loss=4 + 0.01 * math.sin(n)))
    ]
    assert "plateau" in {each.kind for each in remarks if not each.is_alarm}


def test_too_few_steps_before_judge_nothing() -> None:
    """A run resumed at its twentieth step has no trend; the report says so."""
    found = Watch([flat(n) for n in range(1, 21)])
    remarks = [remark for n in range(21, 121) for remark in found.take(flat(n, loss=3.0))]
    assert ["report"] == [each.kind for each in remarks]
    assert "too few steps before" in remarks[0].sentence


def test_nothing_before_is_no_trouble() -> None:
    """A run that begins again has no line at all before it."""
    found = Watch([])
    assert ["report"] == [r.kind for n in range(1, 101) for r in found.take(flat(n))]


def test_a_loss_that_falls_faster_as_the_rate_rises_is_no_news() -> None:
    """A stop in the middle of a warm-up: the trend is of smaller rates."""
    noise = [0.01 * math.sin(n * n) for n in range(400)]
    lines = [
        {"step": n, "loss": 4 - 0.5 * (n / 200) ** 2 + noise[n], "grad_norm": 1.0, "lr": 1e-5 * n}
        for n in range(1, 400)
    ]
    watch = Watch(lines[:150])
    found = [remark for line in lines[150:] for remark in watch.take(line)]
    assert [] == [each.sentence for each in found if each.is_alarm]
    watch = Watch([line | {"lr": 1e-3} for line in lines[:150]])
    found = [remark for line in lines[150:] for remark in watch.take(line | {"lr": 1e-3})]
    assert ["suspicious drop"] == [each.kind for each in found if each.is_alarm]


def test_a_mean_squared_error_was_never_below_zero() -> None:
    """A curve that falls steeply, and then hardly, is not led below where it has ever been."""
    falling = [flat(n, loss=8.0 * 0.9**n + 0.01) for n in range(1, 61)]
    found = Watch(falling)
    told = [each for n in range(61, 161) for each in found.take(flat(n, loss=0.01))]
    report = next(each for each in told if each.kind == "report")
    assert "loss 0.01, was 0.0" in report.sentence
    assert not any(each.is_alarm for each in told)


def test_a_report_counts_the_speed_that_it_tells_beside() -> None:
    """The line before it just told of a slower step: that is something unusual."""
    found = watch(seconds_per_step=1.0)
    told = [each for n in range(301, 401) for each in found.take(flat(n), seconds=2.0)]
    assert ["speed", "report"] == [each.kind for each in told]
    assert told[-1].sentence.endswith("reported: speed")


def test_steps_that_came_out_as_before_raise_no_alarm() -> None:
    """Their gradients are the run's own, whatever the trend: a resume that repeats them is exact."""
    found = watch()
    for n in range(301, 341):
        assert [] == found.take(flat(n, grad_norm=40.0, loss=9.0), is_repeated=True)
    assert [] == found.take(flat(341, grad_norm=40.0, loss=9.0))
    assert [] == kinds_of(watch(), range(301, 307))


def kinds_of(found: Watch, steps: range, **other: Any) -> list[str]:
    return [each.kind for n in steps for each in found.take(flat(n, **other))]


def test_a_leap_of_the_rate_is_told_within_twenty_steps() -> None:
    """A schedule that was never declared may act late; a rate that falls is a plateau's."""
    for rate, said in ((1e-3, ["learning rate"]), (1e-6, [])):
        found = watch()
        assert [] == kinds_of(found, range(301, 310), lr=1e-4)
        assert said == kinds_of(found, range(310, 312), lr=rate)
    late = watch()
    assert [] == kinds_of(late, range(301, 322), lr=1e-4)
    assert [] == kinds_of(late, range(322, 324), lr=1e-3)


def test_a_loop_without_a_rate_leaps_from_nothing_to_nothing() -> None:
    """Not a number is no rate, and no leap."""
    found = Watch([flat(n, lr=math.nan) for n in range(1, 301)])
    assert [] == kinds_of(found, range(301, 306), lr=math.nan)
    assert [] == kinds_of(watch(), range(301, 306), lr=math.nan)


def test_a_loss_scale_that_begins_anew_is_told() -> None:
    """A scaler halves or doubles its scale; one that was not restored begins far from it."""
    before = [flat(n, grad_scale=1024.0) for n in range(1, 31)]
    assert ["loss scale"] == kinds_of(Watch(before), range(31, 34), grad_scale=65536.0)
    assert [] == kinds_of(Watch(before), range(31, 34), grad_scale=512.0)
    assert [] == kinds_of(watch(), range(301, 304), grad_scale=65536.0)
