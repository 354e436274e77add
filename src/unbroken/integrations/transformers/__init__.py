"""Exact resume for the `Trainer` of Hugging Face transformers: one line before `trainer.train()`.

    from unbroken.integrations.transformers import protect

    protect(trainer)
    trainer.train()

See docs/frameworks.md, "Hugging Face Trainer".
"""

from __future__ import annotations

from unbroken.integrations.transformers.protect import protect

__all__ = ["protect"]
