"""What stands in a test for something that is not ours and can't run in it."""
