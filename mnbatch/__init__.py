"""mnbatch: overnight micronucleus scoring of slide-scanner exports."""

__version__ = "0.2.0"
