"""Cohorts that do not exist yet: simulated patients, the real engine, `kat simulate`."""
