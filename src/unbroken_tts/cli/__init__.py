"""The command line: words in, exit codes and messages out. Nothing is computed here."""
