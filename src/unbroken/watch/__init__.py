"""The first thousand steps after a resume, against what was before."""
