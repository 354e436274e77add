import signal

import unbroken

stop = unbroken.StopRequest()
with stop.listening():
    signal.raise_signal(signal.SIGINT)  # Ctrl+C
    if stop.is_made:
        print("asked by", stop.reason, "- exit with", stop.exit_code)


def leave_stops_to_the_training(worker: int) -> None:
    """For `DataLoader(worker_init_fn=...)`: Ctrl+C reaches every process of a terminal."""
    del worker
    for number in unbroken.StopRequest.SIGNALS:
        signal.signal(number, signal.SIG_IGN)
