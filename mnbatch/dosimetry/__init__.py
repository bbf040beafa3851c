"""From counts to doses: calibration curves, their fits, dose intervals, detection limits, triage."""
