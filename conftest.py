"""What all tests share."""

import os

from hypothesis import settings

pytest_plugins = ["pytester", "postgres"]

# A change is judged by the same examples on every machine; `KAT_RANDOM=1` looks for new ones.
# What fails is printed so that it can be repeated.
settings.register_profile(
    "kat", derandomize="KAT_RANDOM" not in os.environ, print_blob=True, deadline=None
)
settings.load_profile("kat")
