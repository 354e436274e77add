"""The command line: parses arguments, prints messages, returns exit codes."""
