"""The voice model: its configuration, layers, losses, files and speech-code sampling.

Knows batches (`unbroken_tts.data.batch`) and nothing else of the data side.
"""
