"""File bytes to pixels: what a format's headers ask for, how it is decoded, what is no picture."""
