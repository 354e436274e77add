"""Fine-tune an IndexTTS2-style GPT (text tokens and mel codes) on a new language."""
