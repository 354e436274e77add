import sys

import torch

import unbroken

try:
    unbroken.find_checkpoint("nowhere")
except unbroken.UnbrokenError as error:
    print(type(error).__name__, error.exit_code)
    print(error.what, error.why, error.remedy, sep="\n", file=sys.stderr)

model = torch.nn.Linear(1, 1)
run = unbroken.Run(
    "misused",
    order=unbroken.StepBatches(["a"], lengths=None, effective_batch=1, seed=1),
    model=model,
    optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
)
try:
    run.begin_step()
except unbroken.RankFailed:  # under torchrun: another process of this run ended
    raise
except unbroken.RunMisused as error:
    print(error.remedy)  # run.resume("auto") comes first
