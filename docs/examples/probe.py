import torch

import unbroken

batch = torch.randn(4, 4)
model = torch.nn.Sequential(torch.nn.Linear(4, 1), torch.nn.Dropout(0.5))
probe = unbroken.Probe(
    {"batch": batch}, lambda tensors: {"loss": model(tensors["batch"]).square().mean()}, [model]
)
names = [f"sample-{i}" for i in range(8)]
order = unbroken.StepBatches(names, lengths=None, effective_batch=4, seed=1)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
run = unbroken.Run("probed", order=order, model=model, optimizer=optimizer, probe=probe)
run.resume("auto")
with unbroken.isolated(model, seed=7):  # validation: evaluation mode, generators of its own
    print(model(batch).square().mean())
run.close()
