"""Where the numbers of a run are shown beside its journal: one run of the tracker over all starts."""
