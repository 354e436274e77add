"""Code that runs before a program, and has its process killed, or asked to stop, at some batch."""

DYING = """
import os
from unbroken.run.own_steps import OwnSteps

done, count = OwnSteps.micro_batch_done, iter(range(10**6))

def dying(self, *args, **named):
    if next(count) == {at}:
        os.kill(os.getpid(), {by})
    return done(self, *args, **named)

OwnSteps.micro_batch_done = dying
"""
"""The process gets a signal at a batch, before it is counted."""
