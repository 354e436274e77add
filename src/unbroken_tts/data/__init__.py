"""The training data: manifests, the preflight over every array, samples and batches."""
