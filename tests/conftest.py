"""Properties are tried on the same examples in every run, however busy the machine is."""

from hypothesis import settings

settings.load_profile("ci")  # Hypothesis's own: derandomized, without a deadline
