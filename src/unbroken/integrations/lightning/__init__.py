"""Lightning 2: exact resume of `Trainer.fit`, with one line."""

from unbroken.integrations.lightning.protecting import protect

__all__ = ["protect"]
