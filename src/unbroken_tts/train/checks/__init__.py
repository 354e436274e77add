"""What a resume of this trainer compares beside the library's own checks."""
