from collections.abc import Mapping

import torch

import unbroken


class Lines:  # a tracker of your own: three methods, nothing to inherit
    def begin(self, run_id: str, step: int) -> int | None:
        print("run", run_id, "after step", step)
        return None  # can't tell what it has: the run goes by what it has handed over

    def log(self, step: int, values: Mapping[str, float]) -> None:
        print(step, values)

    def close(self) -> None:
        pass


assert isinstance(Lines(), unbroken.Tracker)
curves = unbroken.tracker("tensorboard", directory="runs")
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
run = unbroken.Run("shown", model=model, optimizer=optimizer, seed=1, trackers=[Lines(), curves])
for _ in run.iterations(3):
    loss = model(torch.randn(8, 4)).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    run.log(loss=loss)
run.close()
