"""What the checks found, for people and for programs: lines, JSON, a file, a countdown."""
