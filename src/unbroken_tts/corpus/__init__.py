"""The sentences of the demo and the tests, and the offline voice that speaks them."""
