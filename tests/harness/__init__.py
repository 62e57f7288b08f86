"""What tests and benchmarks use to run the product as its user does."""
