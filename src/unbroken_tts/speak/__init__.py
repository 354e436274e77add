"""Speaks with trained weights, for `unbroken-tts say` and the demo."""
