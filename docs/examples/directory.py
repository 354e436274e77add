import torch

import unbroken

names = [f"sample-{i}" for i in range(8)]
order = unbroken.StepBatches(names, lengths=None, effective_batch=4, seed=1)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
run = unbroken.Run("read", order=order, model=model, optimizer=optimizer)
run.resume("auto")
for step in run.steps(until=3):
    for micro in step.micro_batches(size=4):
        step.backward(model(torch.ones(len(micro.indices), 4)).sum())
    step.update()
run.close()

directory = unbroken.RunDirectory("read")
for number, line in directory.steps().items():
    print(number, line["loss"])
checkpoint = unbroken.find_checkpoint("read")  # of a run, or one of its checkpoints
print(checkpoint.position.step, checkpoint.facts()["order"])
weights = torch.nn.Linear(4, 1)
checkpoint.load_into(weights)
assert torch.equal(weights.weight, model.weight)
source = unbroken.find_source(directory.root, "auto")  # what Run.resume("auto") would continue
print(source.outcome, source.run_id)
