"""The definition of a treatment program, compiled: frozen and shared by every patient in it."""
