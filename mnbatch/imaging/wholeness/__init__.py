"""Whether an image file is whole: what decoders fill with zeros, guess or pass over in silence becomes an error."""
