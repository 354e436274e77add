import os
import sys

import torch

import unbroken


def resumed(learning_rate: float, **options) -> unbroken.ResumeReport:
    names = [f"sample-{i}" for i in range(4)]
    order = unbroken.StepBatches(names, lengths=None, effective_batch=4, seed=1)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
    facts = {"learning_rate": learning_rate}
    run = unbroken.Run("reported", order=order, model=model, optimizer=optimizer, facts=facts)
    try:
        report = run.resume("auto", **options)
        run.save()
        return report
    finally:
        run.close()


def confirm(report, decision) -> bool:
    """Asked by `Run.resume` where the saved values may act: show it, and wait for Ctrl+C."""
    print(*unbroken.render_report(report, decision), sep="\n")
    if unbroken.why_unattended(sys.stdin, sys.stderr, os.environ):
        return False
    return unbroken.count_down(10, sys.stderr)


resumed(0.1)
try:
    resumed(0.2, confirm=confirm)
except unbroken.ResumeRefused as error:
    width = unbroken.terminal_width(sys.stdout)  # None: as long as they are
    for line in unbroken.render_report(error.report, error.decision, width=width):
        print(unbroken.legible(line, sys.stdout.encoding))
    logs = unbroken.RunDirectory("reported").logs
    print(unbroken.save_report(logs, 0, error.report, error.decision))
accepted = resumed(0.2, accept=["other-facts-unchanged", "optimizer-options-unchanged"])
for change in accepted.changed:
    print(change.name, "is new" if change.is_new else f"was {change.saved}")
