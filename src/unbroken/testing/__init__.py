"""What users test their own training with: recorded disk calls, crash points, faults."""
