"""The demo: real speech, a real training killed for real, its continuation proved equal, a voice."""
