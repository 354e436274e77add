"""The demo: makes speech, trains, kills the training, resumes it, proves it equal, and speaks."""
