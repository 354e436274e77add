"""When things happen: schedules, saves, stop requests, and what must not disturb training."""
