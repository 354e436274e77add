"""Speaking with trained weights: `unbroken-tts say` and the demo."""
