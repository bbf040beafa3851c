"""What mnbatch does for a caller, be it the command line or Python: each function gives a record and prints nothing."""
