"""Runs of the earlier trainer: what their files hold, what they suffered, where to go on."""
