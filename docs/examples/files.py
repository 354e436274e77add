from pathlib import Path

import torch

import unbroken

with unbroken.atomic_write(Path("results/weights.safetensors")) as new:
    unbroken.write_tensors(new, {"weight": torch.eye(2)})
print(unbroken.read_tensors(Path("results/weights.safetensors")))

lines = unbroken.AppendFile(Path("results/done.jsonl"))
lines.cut_torn_tail()  # left by a process that died in mid-line
lines.append(b'{"sample": 1}')
lines.close()
