"""Shows the findings of the checks: on the terminal, as JSON, in a file; and a countdown."""
