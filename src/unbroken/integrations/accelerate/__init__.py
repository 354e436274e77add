"""Exact resume for a loop over Hugging Face Accelerate: one line after `accelerator.prepare(...)`.

    from unbroken.integrations.accelerate import protect

    run = protect(accelerator, "out", data=train_loader)
    for epoch in run.epochs(3):
        for batch in run.batches():
            with accelerator.accumulate(model):
                ...

See docs/frameworks.md, "Accelerate".
"""

from __future__ import annotations

from unbroken.integrations.accelerate.protect import protect

__all__ = ["protect"]
