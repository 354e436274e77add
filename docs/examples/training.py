import torch

import unbroken

torch.manual_seed(0)
data = torch.randn(40, 4)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
curve = unbroken.warmup_cosine(warmup=2, total=6)
schedule = unbroken.Schedule(optimizer, curve, {"warmup": 2, "total": 6})
names = [f"sample-{i}" for i in range(len(data))]
# Ten of the forty samples are English, and make a third of every epoch.
mix = unbroken.Mix(["en"] * 10 + ["am"] * 30, {"am": 2, "en": 1})
order = unbroken.StepBatches(names, lengths=None, effective_batch=10, seed=1, mix=mix)
run = unbroken.Run(
    "training_output", order=order, model=model, optimizer=optimizer, scheduler=schedule
)
report = run.resume("auto")
print(report.outcome, "at step", report.position.step)
for step in run.steps(until=6):
    for micro in step.micro_batches(size=5):
        loss = model(data[list(micro.indices)]).square().sum() / len(step.indices)
        step.backward(loss)
    result = step.update(clip_norm=1.0)
    print(result.step, result.losses["loss"], result.rate)
run.close()
