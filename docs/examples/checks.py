import torch

import unbroken
from unbroken.checks import Advice, Check, FactCheck, StateSummary, agrees, differs, wrong_examples


class ClipStays(Check):
    id = "clip-stays"  # what accept=[...] names
    title = "Gradients are clipped as they were"
    covers = ("clip",)
    AGREES = ((StateSummary(facts={"clip": 1.0}), StateSummary(facts={"clip": 1.0})),)
    DIFFERS = ((StateSummary(facts={"clip": 1.0}), StateSummary(facts={"clip": 5.0})),)

    def compare(self, saved, live):
        if saved.fact("clip") != live.fact("clip"):
            return differs(f"{live.fact('clip')}, was {saved.fact('clip')}")
        return agrees(f"{live.fact('clip')}")


checks = [ClipStays(), FactCheck(id="codec-unchanged", covers=("codec",), example=("a1", "b2"))]
assert not [line for check in checks for line in wrong_examples(check)]

model = torch.nn.Linear(4, 1)
run = unbroken.Run(
    "checked_run",
    order=unbroken.StepBatches(["a", "b"], lengths=None, effective_batch=2, seed=1),
    model=model,
    optimizer=torch.optim.AdamW(model.parameters()),
    facts={"clip": 1.0, "codec": "a1"},
    checks=checks,
    advice={"clip-stays": Advice(remedy="Set clip_norm in config.yaml back to the run's.")},
)
run.resume()
run.close()
