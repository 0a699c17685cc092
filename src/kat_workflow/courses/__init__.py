"""Real treatment courses, told to the real engine: `kat replay`."""
