"""Runs a training whose source stays as it is: a decorated function, or a script."""
