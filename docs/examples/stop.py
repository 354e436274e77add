import signal

import torch
from torch.utils.data import DataLoader, TensorDataset

import unbroken

stop = unbroken.StopRequest()
with stop.listening():
    signal.raise_signal(signal.SIGINT)  # Ctrl+C
    if stop.is_made:
        print("asked by", stop.reason, "- exit with", stop.exit_code)

# Workers that are spawned let a stop pass until the training has saved; forked ones do so anyway.
loader = DataLoader(
    TensorDataset(torch.zeros(8, 4)),
    num_workers=2,
    multiprocessing_context="spawn",
    worker_init_fn=unbroken.ignore_stop_signals,
)
