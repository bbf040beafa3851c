"""A run from export to report: `mnbatch.pipeline.run.run` tells the story; the other modules are its chapters."""
