"""What a run is: its parts, its position, its randomness, and how they are written down."""
