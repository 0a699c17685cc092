"""One patient in one program: pure functions from what was asked to what has happened."""
