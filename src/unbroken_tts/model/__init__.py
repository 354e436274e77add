"""The voice model: configuration, layers, losses, weights files and sampling of codes.

Of the data packages it uses only `unbroken_tts.data.batch`.
"""
